{
  const known = JSON.parse(document.getElementById("story-data").textContent);
  const photoBlock = document.getElementById("photo-data");
  const photos = photoBlock.textContent.split("\n");
  photoBlock.remove();
  const { stories, tags, notes, photoIds } = known;
  const list = document.getElementById("list");
  const field = Object.fromEntries(["search", "tag", "role", "order", "count"].map((id) => [id, document.getElementById(id)]));
  const frames = [...new Set(stories.flatMap((story) => Object.keys(story.n).map(Number)))].sort();
  let t = frames.at(-1) ?? 4;
  let shown = [];
  let current = -1;

  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  };
  const at = (story) => story.n[t];
  const plain = (tag) => tags[tag].replaceAll("_", " ");

  /* ---- photos ---- */

  function makePhoto(number, label, badge) {
    const box = make("div", { class: "photo" });
    if (photos[number]) {
      box.append(make("img", { src: `data:image/jpeg;base64,${photos[number]}`, alt: label, decoding: "async", title: photoIds[number] }));
    } else {
      box.append(make("span", { class: "none", title: photoIds[number] }, notes[number] || "no picture"));
    }
    box.append(make("span", { class: "number", "aria-hidden": "true" }, badge));
    return box;
  }

  /* ---- words: what two captions share, by their longest common subsequence ---- */

  const wordsOf = (caption) => caption.split(/\s+/).filter(Boolean);

  function markShared(left, right) {
    const a = left.map((word) => word.toLowerCase()), b = right.map((word) => word.toLowerCase());
    const length = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
    for (let i = a.length - 1; i >= 0; i--) {
      for (let j = b.length - 1; j >= 0; j--) {
        length[i][j] = a[i] === b[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
      }
    }
    const inLeft = new Set(), inRight = new Set();
    for (let i = 0, j = 0; i < a.length && j < b.length;) {
      if (a[i] === b[j]) { inLeft.add(i++); inRight.add(j++); }
      else if (length[i + 1][j] >= length[i][j + 1]) i++;
      else j++;
    }
    return [inLeft, inRight];
  }

  const clings = /^(?:[.,!?;:%)\]…’”]+|n't|'[a-z]*|''|n’t)$/i;

  function writeWords(words, shared, className) {
    const line = make("p");
    let open = null;
    words.forEach((word, index) => {
      const space = index && !clings.test(word) && !/^[([“]$/.test(words[index - 1]) ? " " : "";
      const isShared = shared.has(index);
      if (isShared || !open) {
        line.append(space);
        if (isShared) { line.append(word); open = null; return; }
        open = make("mark", { class: className }, word);
        line.append(open);
      } else {
        open.append(space + word);
      }
    });
    if (!words.length) line.append(make("span", { class: "muted" }, "nothing was written"));
    return line;
  }

  const writeCaption = (caption) => writeWords(wordsOf(caption), new Set(wordsOf(caption).keys()), "");

  /* ---- tags ---- */

  function judgeTags(truth, said) {
    return [...truth.filter((tag) => said.includes(tag)).map((tag) => [tag, "hit"]),
      ...truth.filter((tag) => !said.includes(tag)).map((tag) => [tag, "miss"]),
      ...said.filter((tag) => !truth.includes(tag)).map((tag) => [tag, "alarm"])];
  }

  function makeChips(truth, said) {
    const sign = { hit: "✓ ", miss: "○ ", alarm: "✕ " };
    const spoken = { hit: "hit", miss: "missed", alarm: "false alarm" };
    const chips = judgeTags(truth, said).map(([tag, verdict]) => make("span", { class: `chip ${verdict}`, title: spoken[verdict] },
      make("span", { "aria-hidden": "true" }, sign[verdict]), plain(tag), make("span", { class: "hidden-text" }, `, ${spoken[verdict]}`)));
    return make("div", { class: "chips" }, ...(chips.length ? chips : [make("span", { class: "muted" }, "no tags, and none predicted")]));
  }

  /* ---- one story ---- */

  function rankText(said) {
    const rank = (value) => (Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(1));
    const found = [[said.ra, "in its album"], [said.rr, "in the split"]].filter(([value]) => value !== null);
    return found.length ? `true photo ranks ${found.map(([value, where]) => `${rank(value)} ${where}`).join(", ")}` : "";
  }

  /* All five photos, and under them what people and the model told, sentence by sentence. */
  function fillTold(card, story) {
    card.append(make("ol", { class: "strip" }, ...story.p.map((number, order) => make("li", null,
      makePhoto(number, `Photo ${order + 1} of 5: ${story.c[order]}`, String(order + 1))))));
    card.append(make("ol", { class: "sentences" }, ...story.c.map((caption, order) => {
      const truth = wordsOf(caption), written = wordsOf(story.w[order] ?? "");
      const [inTruth, inWritten] = markShared(truth, written);
      const name = (text) => make("h4", order ? { class: "hidden-text" } : null, text);
      const [tags, , ahead] = story.tags;
      return make("li", { class: "pair" }, make("div", null, name("True story"), writeWords(truth, inTruth, "")),
        make("div", null, name("Written"), writeWords(written, inWritten, "written"),
          ...(ahead ? [make("h4", { class: "hidden-text" }, "Tags"), makeChips(tags[order], ahead[order])] : [])));
    })));
  }

  function fill(card, story) {
    card.textContent = "";
    card.dataset.filled = t;
    const said = at(story);
    const surprise = said?.k == null ? "" : `${Math.exp(said.k).toFixed(1)} perplexity`;
    card.append(make("header", null,
      make("h3", { id: `h-${story.id}` }, make("a", { href: `#s-${story.id}`, tabindex: "-1" }, `Story ${story.id}`)), make("span", null, `album ${story.a}`),
      make("span", { class: "ranks" }, said ? [rankText(said), surprise].filter(Boolean).join(" · ") : "")));
    if (known.task === "tell") return fillTold(card, story);
    card.append(make("ol", { class: "strip" }, ...story.p.map((number, order) => {
      const role = order < t ? "seen" : order === t ? "target" : "later";
      const label = `Photo ${order + 1} of 5${role === "target" ? ", to be predicted" : role === "later" ? ", not seen" : ""}: ${story.c[order]}`;
      return make("li", { class: role }, make("figure", null,
        makePhoto(number, label, String(order + 1)),
        make("figcaption", null, role === "target" ? "to be predicted" : writeCaption(story.c[order]))));
    })));
    const told = make("p", { class: "told" });
    story.c.slice(0, t).forEach((caption, order) => told.append(make("b", null, String(order + 1)), " ", ...writeCaption(caption).childNodes, " "));
    told.append(make("b", { class: "next" }, `${t + 1} to be predicted`));
    card.append(told);
    if (!said) {
      card.append(make("p", { class: "muted" }, `Nothing was predicted at t = ${t}.`));
      return;
    }
    const truth = wordsOf(story.c[t]), written = wordsOf(said.w);
    const [inTruth, inWritten] = markShared(truth, written);
    card.append(make("div", { class: "pair" },
      make("div", null, make("h4", null, "True caption"), writeWords(truth, inTruth, "")),
      make("div", null, make("h4", null, "Written"), writeWords(written, inWritten, "written"))));
    const isTrue = (number) => number === story.p[t];
    card.append(make("div", { class: "judged" },
      make("div", null, make("h4", null, `Tags ahead, from frames 1 to ${t}`), makeChips(said.g, said.x),
        make("h4", null, `Tags seen in photo ${t + 1}`), makeChips(said.g, said.s)),
      make("div", null, make("h4", null, "Nearest photos to the prediction"), said.r.length ? make("ol", { class: "found" },
        ...said.r.map((number, index) => make("li", isTrue(number) ? { class: "is-true" } : null, makePhoto(number,
          `Retrieved ${index + 1}${isTrue(number) ? ", the true photo" : ""}`, isTrue(number) ? `${index + 1} ✓ true` : String(index + 1))))) :
        make("p", { class: "muted" }, "none retrieved"))));
  }

  /* ---- the list: cards are empty until they come near the screen ---- */

  const cards = stories.map((story) => make("article", { class: "story", id: `s-${story.id}`, tabindex: "-1", "aria-labelledby": `h-${story.id}` }));
  const indexOf = new Map(cards.map((card, index) => [card, index]));
  const waiting = new Set();
  const near = new IntersectionObserver((entries) => {
    if (!waiting.size) requestAnimationFrame(fillSome);
    for (const { target, isIntersecting } of entries) waiting[isIntersecting ? "add" : "delete"](target);
  }, { rootMargin: "2400px 0px" });

  /* A few milliseconds of a frame at most, so that scrolling stays smooth; what is on the screen comes first. */
  function fillSome() {
    const end = performance.now() + 5;
    const onScreen = [...waiting].filter((card) => {
      const box = card.getBoundingClientRect();
      return box.bottom > 0 && box.top < innerHeight;
    });
    for (const card of [...onScreen, ...waiting]) {
      if (waiting.delete(card)) ready(card);
      if (performance.now() > end && !onScreen.includes(card)) break;
    }
    if (waiting.size) requestAnimationFrame(fillSome);
  }

  function ready(card) {
    if (card.dataset.filled !== String(t)) fill(card, stories[indexOf.get(card)]);
  }

  const searched = new Map();
  function textOf(story) {
    if (!searched.has(story)) {
      const written = Object.values(story.n).map((said) => said.w);
      searched.set(story, [story.id, story.a, ...story.c, ...written].join("\n").toLowerCase());
    }
    return searched.get(story);
  }

  function hasTag(story) {
    if (field.tag.value === "") return true;
    const said = at(story), tag = Number(field.tag.value);
    if (!said) return false;
    const verdict = judgeTags(said.g, said.x).find(([found]) => found === tag)?.[1];
    return { any: verdict !== undefined || said.s.includes(tag), true: said.g.includes(tag), hit: verdict === "hit",
      miss: verdict === "miss", alarm: verdict === "alarm" }[field.role.value];
  }

  /* The place of every story by one measure, 0 best to 1 worst; absent measures come last. */
  function places(measure) {
    const values = [...new Set(stories.map(measure).filter((value) => value !== null))].sort((a, b) => a - b);
    const place = new Map(values.map((value, index) => [value, index / Math.max(1, values.length - 1)]));
    return (story) => place.get(measure(story)) ?? 1;
  }

  function sorter() {
    const photo = places((story) => at(story)?.rr ?? at(story)?.ra ?? null);
    const likely = places((story) => at(story)?.k ?? null);
    const both = (story) => photo(story) + likely(story);
    const [measure, sign] = { best: [both, 1], worst: [both, -1], photo: [photo, 1], lost: [photo, -1], likely: [likely, 1],
      unlikely: [likely, -1] }[field.order.value] ?? [() => 0, 1];
    const value = new Map(stories.map((story) => [story, sign * measure(story)]));
    return (a, b) => value.get(stories[a]) - value.get(stories[b]) || a - b;
  }

  function refresh() {
    field.role.parentElement.hidden = field.tag.value === "";
    const words = field.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = [...stories.keys()].filter((index) => hasTag(stories[index]) && words.every((word) => textOf(stories[index]).includes(word)));
    if (field.order.value !== "split") shown.sort(sorter());
    current = -1;
    near.disconnect();
    waiting.clear();
    if (shown.length) {
      list.replaceChildren(...shown.map((index) => cards[index]));
      for (const index of shown) near.observe(cards[index]);
    } else {
      list.replaceChildren(make("p", { class: "empty" }, "No story matches. Try fewer words or another tag."));
    }
    const count = (number) => number.toLocaleString("en");
    field.count.textContent = shown.length === stories.length ? `${count(stories.length)} stories` : `${count(shown.length)} of ${count(stories.length)} stories`;
  }

  function go(position) {
    if (!shown.length) return;
    current = Math.min(Math.max(position, 0), shown.length - 1);
    const card = cards[shown[current]];
    ready(card);
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "start" });
  }

  const positionNow = () => {
    const focused = document.activeElement?.closest?.(".story");
    return focused ? shown.indexOf(indexOf.get(focused)) : current;
  };

  /* ---- controls ---- */

  field.tag.append(make("option", { value: "" }, "any"), ...[...new Set(known.categories)].filter(Boolean).map((category) =>
    make("optgroup", { label: category }, ...[...tags.keys()].filter((tag) => known.categories[tag] === category).map((tag) =>
      make("option", { value: tag })))));

  function countTags() {
    const counts = new Array(tags.length).fill(0);
    for (const story of stories) for (const tag of at(story)?.g ?? []) counts[tag]++;
    for (const option of field.tag.querySelectorAll("optgroup option")) {
      option.textContent = `${plain(Number(option.value))} (${counts[option.value]} true)`;
    }
  }

  const chooseT = makeSegments(document.getElementById("story-t"), frames.length ? frames : [4], t, (value) => {
    t = value;
    countTags();
    refresh();
  });
  let typed = 0;
  field.search.addEventListener("input", () => { cancelAnimationFrame(typed); typed = requestAnimationFrame(refresh); });
  for (const name of ["tag", "role", "order"]) field[name].addEventListener("change", refresh);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inField = event.target.closest?.("input, select, textarea");
    if (event.key === "Escape" && event.target === field.search) {
      field.search.value = "";
      refresh();
      field.search.blur();
    } else if (event.key === "Enter" && event.target === field.search) {
      go(0);
    } else if (inField) {
      return;
    } else if (event.key === "/") {
      event.preventDefault();
      field.search.focus();
      field.search.select();
    } else if (event.key === "j" || event.key === "k") {
      event.preventDefault();
      go(positionNow() + (event.key === "j" ? 1 : -1));
    } else if (frames.includes(Number(event.key)) && event.key.trim()) {
      const kept = positionNow() < 0 ? null : shown[positionNow()];
      chooseT(Number(event.key));
      if (kept !== null && shown.includes(kept)) go(shown.indexOf(kept));
    }
  });

  const PRINTED = 24;
  addEventListener("beforeprint", () => shown.forEach((index, position) => {
    if (position < PRINTED) ready(cards[index]);
    else cards[index].classList.add("not-printed");
  }));
  addEventListener("afterprint", () => { for (const card of cards) card.classList.remove("not-printed"); });

  const follow = () => {
    const wanted = stories.findIndex((story) => `#s-${story.id}` === decodeURIComponent(location.hash));
    if (wanted >= 0 && shown.includes(wanted)) go(shown.indexOf(wanted));
  };
  addEventListener("hashchange", follow);
  follow();
}
