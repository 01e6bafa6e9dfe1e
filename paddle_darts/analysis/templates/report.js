"use strict";
(() => {
  const root = document.documentElement;
  addEventListener("error", () => { root.dataset.failed = "true"; });

  // Copying: the clipboard interface where the page may use it, else the older selection command.
  const copy = async (element) => {
    try {
      await navigator.clipboard.writeText(element.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(element);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
    }
  };
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      await copy(document.getElementById(button.dataset.copy));
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  // Reading a chart: a vertical line at the nearest epoch and the values there.
  for (const chart of document.querySelectorAll(".chart")) {
    const data = JSON.parse(chart.querySelector("script").textContent);
    const svg = chart.querySelector(":scope > svg");
    const cursor = svg.querySelector(".cursor");
    const reading = chart.querySelector(".reading");
    let at = data.x.length - 1;
    const show = (index) => {
      at = Math.max(0, Math.min(data.x.length - 1, index));
      const lines = data.lines.filter((line) => line.text[at] !== null);
      reading.textContent = ["Epoch " + data.epochs[at], ...lines.map((line) => line.label + "  " + line.text[at])].join("\n");
      cursor.setAttribute("x1", data.x[at]);
      cursor.setAttribute("x2", data.x[at]);
      cursor.removeAttribute("hidden");
      reading.hidden = false;
      const scale = svg.clientWidth / svg.viewBox.baseVal.width;
      const left = svg.offsetLeft || chart.clientLeft + parseFloat(getComputedStyle(chart).paddingLeft);
      const x = left + data.x[at] * scale;
      const room = chart.clientWidth - reading.offsetWidth - 8;
      reading.style.left = (x + 12 > room ? Math.max(8, x - reading.offsetWidth - 12) : x + 12) + "px";
    };
    const hide = () => { cursor.setAttribute("hidden", ""); reading.hidden = true; };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
      let nearest = 0;
      data.x.forEach((place, i) => { if (Math.abs(place - x) < Math.abs(data.x[nearest] - x)) nearest = i; });
      show(nearest);
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -at, End: data.x.length }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      show(reading.hidden ? at : at + step);
    });
  }

  // Readers who asked for less motion start with the film closed.
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    for (const film of document.querySelectorAll(".film")) film.open = false;
  }
  root.dataset.ready = "true";
})();
