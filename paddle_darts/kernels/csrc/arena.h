// Scratch memory that stays warm between calls.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace pd {

// Memory is handed out front to back and taken back to a mark; its content is whatever was there before.
class Arena {
 public:
  struct Mark {
    size_t block, used;
  };

  ~Arena() {
    for (Block& b : blocks_) std::free(b.data);
  }

  template <class T>
  T* take(int64_t count) {
    const size_t bytes = (size_t(count > 0 ? count : 1) * sizeof(T) + 63) / 64 * 64;
    while (current_ < blocks_.size() && blocks_[current_].size - used_ < bytes) ++current_, used_ = 0;
    if (current_ == blocks_.size()) add(bytes);
    char* p = blocks_[current_].data + used_;
    used_ += bytes;
    return reinterpret_cast<T*>(p);
  }

  Mark mark() const { return {current_, used_}; }
  void back_to(Mark m) { current_ = m.block, used_ = m.used; }

 private:
  struct Block {
    char* data;
    size_t size;
  };

  void add(size_t bytes) {
    const size_t size = bytes > kBlock ? (bytes + 63) / 64 * 64 : kBlock;
    char* data = static_cast<char*>(std::aligned_alloc(64, size));
    if (!data) throw std::bad_alloc();
    blocks_.push_back({data, size});
    used_ = 0;
  }

  static constexpr size_t kBlock = size_t(4) << 20;
  std::vector<Block> blocks_;
  size_t current_ = 0, used_ = 0;
};

// Takes back what is handed out during its life.
class Scope {
 public:
  explicit Scope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~Scope() { arena_.back_to(mark_); }
  Scope(const Scope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace pd
