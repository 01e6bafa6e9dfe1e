"""Files: atomic writes, tensors, random states, and the restricted unpickler for other people's pickles."""
