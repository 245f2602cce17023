"use strict";
{
  const { sheet, questions } = JSON.parse(document.getElementById("content").textContent);
  const field = Object.fromEntries(["judge", "save", "progress", "place", "question", "strip", "back", "open", "next"]
    .map((id) => [id, document.getElementById(id)]));
  const buttons = [...document.querySelectorAll("[data-side]")];
  const stored = () => { try { return JSON.parse(localStorage.getItem(`sheet-${sheet}`)) || {}; } catch { return {}; } };
  let { judge = "", answers = {} } = stored();
  let current = 0;

  function keep() {
    try { localStorage.setItem(`sheet-${sheet}`, JSON.stringify({ judge, answers })); } catch { /* answers are saved at the end */ }
  }

  function showFrame(photo, caption, order) {
    const item = document.createElement("li"), figure = document.createElement("figure"), box = document.createElement("div");
    box.className = "photo";
    if (photo) {
      const image = document.createElement("img");
      image.src = `data:image/jpeg;base64,${photo}`;
      image.alt = `Photo ${order + 1}`;
      box.append(image);
    } else {
      box.textContent = "no photo";
    }
    const text = document.createElement("figcaption");
    text.textContent = caption;
    figure.append(box, text);
    item.append(figure);
    return item;
  }

  function show() {
    const question = questions[current];
    field.strip.replaceChildren(...question.captions.map((caption, order) => showFrame(question.photos[order], caption, order)));
    for (const button of buttons) {
      const side = button.dataset.side;
      if (side !== "tie") button.querySelector("span").textContent = question[side] || "(nothing)";
      button.setAttribute("aria-pressed", String(answers[current] === side));
    }
    const answered = Object.keys(answers).length;
    field.place.textContent = `Question ${current + 1} of ${questions.length}, ${answered} answered`;
    field.progress.value = answered;
    field.back.disabled = current === 0;
    field.next.disabled = current === questions.length - 1;
    field.open.disabled = answered === questions.length;
    field.save.disabled = !answered || !judge.trim();
  }

  function go(index) {
    current = Math.min(Math.max(index, 0), questions.length - 1);
    show();
    field.question.focus({ preventScroll: true });
  }

  function goOpen() {
    const order = [...questions.keys()].map((index) => (current + 1 + index) % questions.length);
    const open = order.find((index) => !(index in answers));
    if (open !== undefined) go(open);
  }

  function answer(side) {
    const isFirst = !(current in answers);
    answers[current] = side;
    keep();
    show();
    if (isFirst) setTimeout(goOpen, 220);
  }

  for (const button of buttons) button.addEventListener("click", () => answer(button.dataset.side));
  field.back.addEventListener("click", () => go(current - 1));
  field.next.addEventListener("click", () => go(current + 1));
  field.open.addEventListener("click", goOpen);
  field.judge.value = judge;
  field.judge.addEventListener("input", () => { judge = field.judge.value; keep(); show(); });
  field.save.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify({ sheet, judge: judge.trim(), answers }, null, 1)], { type: "application/json" }));
    link.download = `answers-${judge.trim().replace(/[^A-Za-z0-9_-]+/g, "-") || "judge"}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  document.addEventListener("keydown", (event) => {
    if (event.target === field.judge || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const act = { ArrowLeft: () => answer("left"), ArrowRight: () => answer("right"), ArrowDown: () => answer("tie"),
      j: () => go(current + 1), k: () => go(current - 1) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  current = Math.max(0, questions.findIndex((_, index) => !(index in answers)));
  show();
}
