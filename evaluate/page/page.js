"use strict";
{
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const isDark = () => (root.dataset.theme || (systemDark.matches ? "dark" : "light")) === "dark";
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a file: page may have no storage */ }
    show();
  });
  systemDark.addEventListener("change", show);
  show();
}

/* A row of buttons of which one is chosen; arrows move the choice. Returns a function that chooses by value. */
function makeSegments(box, values, chosen, onChoose) {
  const buttons = values.map((value) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = value;
    button.setAttribute("role", "radio");
    button.addEventListener("click", () => choose(value));
    return button;
  });
  function choose(value) {
    buttons.forEach((button, index) => {
      button.setAttribute("aria-checked", String(values[index] === value));
      button.tabIndex = values[index] === value ? 0 : -1;
    });
    onChoose(value);
  }
  box.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length;
    buttons[next].focus();
    choose(values[next]);
  });
  box.replaceChildren(...buttons);
  choose(chosen);
  return choose;
}

{
  const parts = [...document.querySelectorAll("[data-t]")];
  const frames = [...new Set(parts.map((part) => Number(part.dataset.t)))].sort();
  const box = document.getElementById("table-t");
  if (frames.length > 1) {
    makeSegments(box, frames, frames.at(-1), (t) => {
      for (const part of parts) part.hidden = Number(part.dataset.t) !== t;
      for (const group of new Set(parts.map((part) => part.parentElement))) {
        group.hidden = !group.querySelector(`[data-t="${t}"]`);
      }
    });
  } else {
    box.parentElement.hidden = true;
  }
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const asWritten = [...body.rows];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const order = { none: "descending", descending: "ascending", ascending: "none" }[head.ariaSort || "none"];
    for (const other of heads) other.removeAttribute("aria-sort");
    const valueOf = (row) => Number(row.cells[column].dataset.value ?? NaN);
    const sign = order === "ascending" ? 1 : -1;
    const rows = order === "none" ? asWritten : [...asWritten].sort((a, b) =>
      isNaN(valueOf(a)) - isNaN(valueOf(b)) || sign * (valueOf(a) - valueOf(b)) || 0);
    if (order !== "none") head.setAttribute("aria-sort", order);
    body.append(...rows);
  }));
}

for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
}
