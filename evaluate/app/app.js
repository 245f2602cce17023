"use strict";
{
  const at = (id) => document.getElementById(id);
  const facts = JSON.parse(at("content").textContent), token = location.hash.slice(1), first = Number(facts.looks_ahead);
  const pictures = /\.(jpe?g|png|gif|webp)$/i;
  const PHOTOS_ARE_IN = "The photos are in. Put them in order, then let it write.";
  const off = new Set();
  let frames = [], tellings = [], work = null, waiting = [];

  /* ---- the server ---- */
  async function ask(path, body, signal) {
    for (let attempt = 0; ; attempt += 1) {
      let answer;
      try {
        answer = await fetch(path, { method: "POST", body, signal, headers: { "X-Token": token } });
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Error("The command does not answer. Was it ended? Start it again and open the address that it prints.");
      }
      if (answer.ok) return answer;
      if (answer.status !== 503 || attempt === 30) {
        const said = await answer.json().catch(() => ({}));
        throw new Error(said.error || `the server answered ${answer.status}`);
      }
      say("Waiting for its turn …");
      await new Promise((done) => setTimeout(done, 700));
      signal?.throwIfAborted();
    }
  }

  /* ---- what is said ---- */
  const say = (text) => { at("status").textContent = text; };

  function complain(text) {
    const item = document.createElement("li");
    item.textContent = text;
    at("problems").append(item);
  }

  /* One piece of work at a time, in steps, that can be stopped. */
  async function run(name, steps, each) {
    if (work || !steps.length) return false;
    work = new AbortController();
    at("problems").replaceChildren();
    at("progress").max = steps.length;
    let done = 0;
    try {
      for (const step of steps) {
        at("progress").value = done;
        say(`${name} ${done + 1} of ${steps.length} …`);
        show();
        await each(step, work.signal);
        done += 1;
      }
    } catch (error) {
      if (error.name !== "AbortError") complain(error.message);
    }
    const whole = done === steps.length;
    work = null;
    show();
    if (!whole) say(`Stopped after ${done} of ${steps.length}.`);
    return whole;
  }

  /* ---- photos in ---- */
  const room = () => facts.frames - frames.filter((frame) => frame.id).length;

  function addFiles(files) {
    if (work) return;
    const sorted = [...files].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    if (sorted.length > room()) pick(sorted.filter((file) => pictures.test(file.name)));
    else look(sorted);
  }

  function look(files) {
    return run("Looking at photo", files, async (file, signal) => {
      try {
        if (file.size > facts.photoBytes) throw new Error(`a photo may have ${facts.photoBytes >> 20} MB, this has ${file.size >> 20} MB`);
        const content = await file.arrayBuffer().catch(() => { throw new Error("it cannot be read; a folder goes through “From a folder”"); });
        const photo = await (await ask("/photo", content, signal)).json();
        addFrame(photo, file.name);
      } catch (error) {
        if (error.name === "AbortError") throw error;
        complain(`${file.name}: ${error.message}`);
      }
    }).then((whole) => whole && say(frames.length ? PHOTOS_ARE_IN : ""));
  }

  function pick(files) {
    if (!room()) return complain(`A story has at most ${facts.frames} photos; remove one first.`);
    if (!files.length) return complain("There is no photo among these files.");
    waiting = files;
    at("picker-title").textContent = `${files.length} photos: choose up to ${room()}`;
    at("choices").replaceChildren(...files.slice(0, 200).map((file, index) => {
      const item = document.createElement("li"), label = document.createElement("label"), box = document.createElement("input");
      const image = document.createElement("img");
      Object.assign(image, { loading: "lazy", decoding: "async", alt: "", src: URL.createObjectURL(file) });
      Object.assign(box, { type: "checkbox", value: index, checked: index < room() });
      box.addEventListener("change", checkPick);
      label.append(image, box, file.name);
      item.append(label);
      return item;
    }));
    at("picker").hidden = false;
    checkPick();
    at("picker").focus();
  }

  const picked = () => [...at("choices").querySelectorAll("input:checked")].map((box) => waiting[box.value]);

  function checkPick() {
    at("take").disabled = Boolean(work) || !picked().length || picked().length > room();
    at("take").textContent = `Take these ${picked().length}`;
  }

  function closePicker() {
    for (const image of at("choices").querySelectorAll("img")) URL.revokeObjectURL(image.src);
    at("picker").hidden = true;
    at("choices").replaceChildren();
    waiting = [];
  }

  /* ---- frames ---- */
  function addFrame(photo, name) {
    const element = at("frame").content.firstElementChild.cloneNode(true);
    const part = Object.fromEntries([...element.querySelectorAll("[data-part]")].map((found) => [found.dataset.part, found]));
    const frame = { id: photo?.id, name, element, part, locked: false };
    part.sentence.maxLength = facts.sentence;
    part.sentence.addEventListener("input", () => { frame.locked = Boolean(part.sentence.value.trim()); show(); });
    part.again.addEventListener("click", () => writeOne(frame, "greedy"));
    part.vary.addEventListener("click", () => writeOne(frame, "nucleus"));
    part.lock.addEventListener("click", () => { frame.locked = !frame.locked; show(); });
    part.earlier.addEventListener("click", () => move(frame, -1, part.earlier));
    part.later.addEventListener("click", () => move(frame, 1, part.later));
    part.remove.addEventListener("click", () => remove(frame));
    if (photo) {
      part.picture.append(makeImage(photo.picture, name));
      part.seen.textContent = `Seen: ${photo.seen.map(([tag, chance]) => `${tag.replace("_", " ")} ${Math.round(100 * chance)} %`).join(", ")}`;
      part.seen.hidden = !photo.seen.length;
      part.unlike.hidden = !photo.unlike;
      if (photo.unlike) part.unlike.textContent = `Farther from all that it learned from (${photo.unlike[0]}) than 95 % of its own world (${photo.unlike[1]}): what it says here is a guess at best.`;
      fillBeside(part.near, photo.near);
      makeDraggable(frame);
      frames.splice(frames.filter((known) => known.id).length, 0, frame);
    } else {
      element.classList.add("coda");
      part.picture.textContent = "What comes next? No photo of yours yet.";
      frames.push(frame);
    }
    show();
    return frame;
  }

  function makeImage(base64, alt) {
    const image = document.createElement("img");
    image.src = `data:image/jpeg;base64,${base64}`;
    image.alt = alt;
    return image;
  }

  function fillBeside(box, photos) {
    box.hidden = !photos.length;
    box.querySelector("ul").replaceChildren(...photos.map((photo) => {
      const item = document.createElement("li");
      item.append(photo.picture ? makeImage(photo.picture, photo.caption) : photo.id);
      item.title = photo.caption;
      return item;
    }));
  }

  function fillTags(frame, tags) {
    const box = frame.part.tags;
    box.hidden = !tags.length;
    while (box.children.length > 1) box.lastChild.remove();
    for (const [tag, chance] of tags) {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.dataset.tag = tag;
      chip.textContent = `${tag.replace("_", " ")} ${Math.round(100 * chance)} %`;
      chip.addEventListener("click", () => {
        off.has(tag) ? off.delete(tag) : off.add(tag);
        show();
        say(`${tag.replace("_", " ")} is switched ${off.has(tag) ? "off" : "on"}: write again to hear the difference.`);
      });
      box.append(chip);
    }
  }

  function remove(frame) {
    const index = frames.indexOf(frame);
    frames.splice(index, 1);
    frame.element.remove();
    show();
    (frames[index] || frames[index - 1])?.part.remove.focus();
  }

  function move(frame, step, button) {
    const from = frames.indexOf(frame), to = from + step;
    if (!frames[to]?.id) return;
    frames.splice(to, 0, frames.splice(from, 1)[0]);
    show();
    (button.disabled ? frame.part.handle : button).focus();
    say(`${frame.name} is now photo ${to + 1}.`);
  }

  function makeDraggable(frame) {
    const { handle } = frame.part, { element } = frame;
    handle.addEventListener("pointerdown", () => {
      if (work) return;
      element.classList.add("dragged");
      const ended = new AbortController(); // listeners on the document: an element that moves loses its pointer
      document.addEventListener("pointermove", (event) => {
        const over = document.elementFromPoint(event.clientX, event.clientY)?.closest(".frame:not(.coda)");
        if (!over || over === element) return;
        const box = over.getBoundingClientRect();
        over[event.clientY < box.top + box.height / 2 ? "before" : "after"](element);
      }, ended);
      for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => {
        ended.abort();
        element.classList.remove("dragged");
        const order = [...at("story").children];
        frames.sort((a, b) => order.indexOf(a.element) - order.indexOf(b.element));
        show();
        say(`${frame.name} is now photo ${frames.indexOf(frame) + 1}.`);
      }, ended);
    });
    handle.addEventListener("keydown", (event) => {
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!step || work) return;
      event.preventDefault();
      move(frame, step, handle);
    });
  }

  /* ---- writing ---- */
  const sentences = () => frames.map((frame) => frame.part.sentence.value.trim());
  const photoIds = () => frames.filter((frame) => frame.id).map((frame) => frame.id);

  async function write(frame, method, signal) {
    const place = frames.indexOf(frame);
    const body = JSON.stringify({ photos: photoIds(), sentences: sentences(), place, method, off: [...off],
      seed: Math.floor(Math.random() * 2 ** 31) });
    const said = await (await ask("/write", body, signal)).json();
    frame.part.sentence.value = said.sentence;
    frame.locked = false;
    fillTags(frame, said.tags);
    fillBeside(frame.part.next, said.next);
    said.unknown.forEach((words, index) => {
      frames[index].part.unknown.hidden = !words.length;
      frames[index].part.unknown.textContent = `It does not know: ${words.join(", ")}.`;
    });
    frame.element.classList.remove("fresh");
    void frame.element.offsetWidth;
    frame.element.classList.add("fresh");
    return said.sentence;
  }

  async function writeOne(frame, method) {
    let sentence = "";
    if (await run("Writing sentence", [frame], async (step, signal) => { sentence = await write(step, method, signal); })) {
      say(`Sentence ${frames.indexOf(frame) + 1}: ${sentence}`);
    }
  }

  async function writeAll(method) {
    const open = frames.filter((frame, index) => index >= first && !frame.locked);
    if (!open.length) return say(frames.length <= first ? "Give it a photo first." : "Every sentence is locked; unlock those that it may write.");
    if (await run("Writing sentence", open, (frame, signal) => write(frame, method, signal))) {
      say(`${open.length} ${open.length === 1 ? "sentence" : "sentences"} written${first && !sentences()[0] ? ". It had no first sentence of yours: with one it has more to go on" : ""}.`);
    }
  }

  /* ---- tellings side by side ---- */
  function keep() {
    if (!sentences().some(Boolean)) return;
    const telling = { photos: photoIds(), sentences: sentences() };
    if (!tellings.some((known) => JSON.stringify(known) === JSON.stringify(telling))) tellings.push(telling);
    show();
  }

  function takeOver(telling) {
    frames.sort((a, b) => (a.id ? telling.photos.indexOf(a.id) : 9) - (b.id ? telling.photos.indexOf(b.id) : 9));
    frames.forEach((frame, index) => {
      frame.part.sentence.value = telling.sentences[index] || "";
      frame.locked = false;
    });
    show();
    say("Taken over.");
  }

  function showTellings() {
    const now = sentences();
    at("compare").hidden = !tellings.length;
    at("tellings").replaceChildren(...tellings.map((telling, index) => {
      const box = document.createElement("article"), title = document.createElement("h3"), list = document.createElement("ol");
      const row = document.createElement("div"), take = document.createElement("button"), drop = document.createElement("button");
      title.textContent = `Telling ${index + 1}`;
      list.append(...telling.sentences.map((sentence, place) => {
        const item = document.createElement("li"), text = document.createElement("span");
        text.textContent = sentence || "…";
        text.classList.toggle("differs", sentence !== now[place]);
        item.append(text);
        return item;
      }));
      row.className = "row";
      Object.assign(take, { type: "button", textContent: "Take over" });
      Object.assign(drop, { type: "button", textContent: "Remove" });
      for (const button of [take, drop]) button.setAttribute("aria-label", `${button.textContent} telling ${index + 1}`);
      take.disabled = Boolean(work) || [...telling.photos].sort().join() !== photoIds().sort().join();
      take.addEventListener("click", () => takeOver(telling));
      drop.addEventListener("click", () => { tellings.splice(index, 1); show(); at("keep").focus(); });
      row.append(take, drop);
      box.append(title, list, row);
      return box;
    }));
  }

  /* ---- out ---- */
  async function save(path, name) {
    await run("Saving", [path], async (step, signal) => {
      const content = await (await ask(step, JSON.stringify({ photos: photoIds(), sentences: sentences() }), signal)).blob();
      const link = document.createElement("a");
      link.href = URL.createObjectURL(content);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }).then((whole) => whole && say(`Saved as ${name}.`));
  }

  /* ---- everything that depends on something ---- */
  function show() {
    const own = frames.filter((frame) => frame.id), coda = frames.find((frame) => !frame.id);
    if (coda && (!own.length || own.length === facts.frames)) {
      frames.splice(frames.indexOf(coda), 1);
      coda.element.remove();
    } else if (!coda && first && own.length && own.length < facts.frames) {
      addFrame(null, "");
      return;
    }
    const list = at("story");
    if (frames.some((frame, index) => list.children[index] !== frame.element)) list.append(...frames.map((frame) => frame.element));
    frames.forEach((frame, index) => {
      const { part } = frame, isOwn = Boolean(frame.id), busy = Boolean(work);
      part.number.textContent = index + 1;
      part.handle.disabled = !isOwn;
      part.handle.setAttribute("aria-label", isOwn ? `Photo ${index + 1}, ${frame.name}: drag, or move with the arrows up and down` : `Place ${index + 1}`);
      part.label.textContent = `Sentence ${index + 1}`;
      part.sentence.placeholder = index < first ? "Begin the story: what happens here?" : "…";
      part.sentence.readOnly = busy;
      for (const name of ["again", "vary"]) part[name].disabled = busy || frame.locked || index < first;
      for (const name of ["again", "vary"]) part[name].hidden = index < first;
      part.again.textContent = part.sentence.value ? "Write again" : "Write";
      part.lock.disabled = busy || !part.sentence.value.trim();
      part.lock.hidden = index < first;
      part.lock.textContent = frame.locked ? "Locked" : "Lock";
      part.lock.setAttribute("aria-pressed", String(frame.locked));
      part.next.hidden = index < first || !part.next.querySelector("li");
      part.tags.hidden = index < first || part.tags.children.length < 2;
      frame.element.classList.toggle("locked", frame.locked && index >= first);
      part.earlier.parentElement.hidden = !isOwn;
      part.earlier.disabled = busy || index === 0;
      part.later.disabled = busy || index === own.length - 1;
      part.remove.disabled = busy;
      for (const chip of part.tags.querySelectorAll("button")) {
        chip.setAttribute("aria-pressed", String(!off.has(chip.dataset.tag)));
        chip.disabled = busy;
      }
    });
    at("drop").classList.toggle("full", own.length === facts.frames);
    at("tools").hidden = !work && !own.length;
    at("save").hidden = !own.length;
    at("stop").hidden = at("progress").hidden = !work;
    for (const id of ["write", "retell", "keep", "save-page", "save-vist", "choose", "choose-folder"]) at(id).disabled = Boolean(work);
    at("choose-video").disabled = Boolean(work) || !facts.reads_videos;
    at("off").hidden = !off.size;
    at("off").textContent = `Switched off: ${[...off].map((tag) => tag.replace("_", " ")).join(", ")}.`;
    checkPick();
    showTellings();
  }

  /* ---- hands on ---- */
  at("choose").addEventListener("click", () => at("files").click());
  at("choose-folder").addEventListener("click", () => at("folder").click());
  at("choose-video").addEventListener("click", () => at("video").click());
  at("files").addEventListener("change", () => { addFiles(at("files").files); at("files").value = ""; });
  at("folder").addEventListener("change", () => { pick([...at("folder").files].filter((file) => pictures.test(file.name))); at("folder").value = ""; });
  at("video").addEventListener("change", () => {
    const [file] = at("video").files;
    run("Looking for key frames, video", [file], async (video, signal) => {
      if (video.size > facts.videoBytes) throw new Error(`a video may have ${facts.videoBytes >> 20} MB, this has ${video.size >> 20} MB`);
      const found = (await (await ask("/video", video, signal)).json()).photos;
      for (const [index, photo] of found.slice(0, room()).entries()) addFrame(photo, `Key frame ${index + 1}`);
    }).then((whole) => whole && say(PHOTOS_ARE_IN));
    at("video").value = "";
  });
  at("take").addEventListener("click", () => { const files = picked(); closePicker(); look(files); });
  at("leave").addEventListener("click", closePicker);
  at("write").addEventListener("click", () => writeAll("greedy"));
  at("retell").addEventListener("click", () => { keep(); writeAll("nucleus"); });
  at("stop").addEventListener("click", () => work?.abort());
  at("keep").addEventListener("click", keep);
  at("save-page").addEventListener("click", () => save("/page", "story.html"));
  at("save-vist").addEventListener("click", () => save("/vist", "test.story-in-sequence.json"));
  at("skip").addEventListener("click", (event) => { event.preventDefault(); at("story").focus(); });
  for (const [name, isOver] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      at("drop").classList.toggle("over", isOver);
      if (name === "drop") addFiles(event.dataTransfer.files);
    });
  }
  if (!token) complain("This address lacks its token: open the one that the command printed, with everything behind the #.");
  show();
}
