"use strict";

// Show the picture chosen from the strip in large.
const large = document.querySelector(".large");
const buttons = [...document.querySelectorAll(".strip button")];
const choose = (button) => {
  const small = button.querySelector("img");
  large.querySelector("img").src = small.src;
  large.querySelector("img").alt = small.alt;
  large.querySelector("figcaption").textContent = small.alt;
  for (const other of buttons) other.setAttribute("aria-pressed", other === button);
};
for (const button of buttons) button.addEventListener("click", () => choose(button));
if (buttons.length) choose(buttons[buttons.length - 1]);

// Show the values of a chart that are nearest to the pointer, or moved to by arrow keys.
for (const plot of document.querySelectorAll(".plot")) {
  const curves = JSON.parse(plot.dataset.curves);
  const readout = plot.closest("figure").querySelector(".readout");
  const cursor = plot.querySelector(".cursor");
  const positions = [...new Set(curves.flatMap(([, across]) => across))].sort((a, b) => a - b);
  let chosen = positions.length - 1;

  const nearest = (values, at) =>
    values.reduce((best, v, i) => (Math.abs(v - at) < Math.abs(values[best] - at) ? i : best), 0);
  const read = () => {
    const at = positions[chosen];
    const [, across, steps] = curves.find(([, values]) => values.includes(at));
    const texts = curves.map(([name, where, , values]) => `${name} ${values[nearest(where, at)]}`);
    readout.textContent = `${steps[across.indexOf(at)]}: ${texts.join(" · ")}`;
    cursor.setAttribute("x1", 1000 * at);
    cursor.setAttribute("x2", 1000 * at);
    cursor.classList.add("on");
  };
  const point = (event) => {
    const box = plot.getBoundingClientRect();
    chosen = nearest(positions, (event.clientX - box.left) / box.width);
    read();
  };
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerdown", point);
  plot.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    chosen = Math.min(Math.max(chosen + by, 0), positions.length - 1);
    read();
    event.preventDefault();
  });
}
