// The console's own script: what is shown works without it, and is quicker with it. No code is made from text.
(() => {
  "use strict";
  const $ = (selector, within) => (within || document).querySelector(selector);
  const all = (selector, within) => [...(within || document).querySelectorAll(selector)];
  const base = document.body.dataset.base || "";

  // --- What happens now: one stream a page, closed while the page is hidden.
  const live = $("[data-live]");
  let source = null, before = null, shown = 0;
  function listen() {
    if (!live || source || document.hidden || !window.EventSource) return;
    source = new EventSource(base + "live");
    source.onopen = () => live.classList.add("on");
    source.onerror = () => live.classList.remove("on");
    source.onmessage = (event) => {
      const now = JSON.parse(event.data);
      if (before !== null && now.answered > before) news(now.answered - before);
      before = now.answered;
      if (live.dataset.refresh) live.textContent = `${now.working} at work, ${now.waiting} waiting`;
    };
  }
  function mute() { if (source) { source.close(); source = null; live.classList.remove("on"); } }
  let refreshing = Date.now();  // what was loaded is as new as what others are shown within the next ten seconds
  function news(count) {
    if (live.dataset.refresh) {  // figures are fetched anew at most every ten seconds
      const wait = Math.max(0, refreshing + 10000 - Date.now());
      if (refreshing >= Date.now()) return;
      refreshing = Date.now() + wait;
      setTimeout(() => { if (!document.hidden) htmx.ajax("GET", live.dataset.refresh, { target: live.dataset.target, swap: "innerHTML" }); }, wait);
    } else if (live.dataset.news) {  // nothing moves by itself: a link says how many there are
      shown += count;
      live.replaceChildren(Object.assign(document.createElement("a"), { href: live.dataset.news, textContent: `${shown} new, show` }));
    }
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? mute() : listen()));
  window.addEventListener("pagehide", mute);
  listen();

  // --- The playground: the answer as it comes, then its trace.
  const asking = $("form[data-ask]");
  if (asking) asking.addEventListener("submit", async (event) => {
    event.preventDefault();
    const data = new FormData(asking), status = $("[data-status]", asking), button = $("button.main", asking);
    if (data.get("questions").trim()) { asking.submit(); return; }
    const sheet = $("#answer-sheet"), out = $("[data-answer]"), trace = $("#trace");
    button.disabled = true; status.textContent = "asked"; out.textContent = ""; trace.replaceChildren();
    sheet.classList.remove("hidden"); out.classList.add("waiting");
    const began = performance.now();
    try {
      const reply = await fetch(asking.action, { method: "POST", body: data, headers: { "x-console-stream": "1", "hx-request": "true" } });
      if (!reply.ok || !(reply.headers.get("content-type") || "").startsWith("text/event-stream")) {
        trace.innerHTML = await reply.text(); sheet.classList.add("hidden"); status.textContent = ""; return;
      }
      const id = reply.headers.get("x-coterie-trace"), reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "", first = 0;
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n"); rest = lines.pop();
        for (const line of lines) {
          if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
          const piece = JSON.parse(line.slice(6));
          if (piece.error) { out.textContent += piece.error.message; continue; }
          const delta = (piece.choices && piece.choices[0] && piece.choices[0].delta) || {};
          const text = delta.content || delta.refusal;
          if (text) { first = first || performance.now() - began; out.textContent += text; status.textContent = `first text after ${Math.round(first)} ms`; }
        }
      }
      if (id) {
        const part = await fetch(`${base}traffic/${encodeURIComponent(id)}?part=body`, { headers: { "hx-request": "true" } });
        trace.innerHTML = await part.text(); htmx.process(trace);
        history.replaceState(null, "", `${base}playground?trace=${encodeURIComponent(id)}`);
      }
    } catch (error) { status.textContent = "The gateway cannot be reached. Is it running?"; }
    finally { button.disabled = false; out.classList.remove("waiting"); }
  });
  if (asking) $("textarea", asking).addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) asking.requestSubmit();
  });

  // --- The picture: dagre finds places in which fewer edges cross; without it the columns of the server stay.
  const picture = $("[data-picture]");
  if (picture && window.dagre) {
    const nodes = all(".node", picture), edges = all(".edge", picture);
    const graph = new dagre.graphlib.Graph();
    graph.setGraph({ rankdir: "LR", nodesep: 16, ranksep: 76, marginx: 2, marginy: 16 });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const node of nodes) { const box = $("rect", node); graph.setNode(node.dataset.id, { width: +box.getAttribute("width"), height: +box.getAttribute("height") }); }
    for (const edge of edges) graph.setEdge(edge.dataset.from, edge.dataset.to);
    if (!$("[data-border]", picture)) {  // columns mean something where a line shows what leaves the machine
      dagre.layout(graph);
      for (const node of nodes) { const at = graph.node(node.dataset.id); node.setAttribute("transform", `translate(${at.x - at.width / 2} ${at.y - at.height / 2})`); }
      for (const edge of edges) {
        const a = graph.node(edge.dataset.from), b = graph.node(edge.dataset.to), x = a.x + a.width / 2, end = b.x - b.width / 2, bend = Math.max((end - x) / 2, 24);
        edge.setAttribute("d", `M${x} ${a.y}C${x + bend} ${a.y} ${end - bend} ${b.y} ${end} ${b.y}`);
      }
      const whole = graph.graph();
      picture.setAttribute("viewBox", `0 0 ${whole.width} ${whole.height}`);
    }
  }

  // --- What went through the parts of the picture, when figures are fetched anew.
  document.addEventListener("htmx:after:swap", () => {
    for (const each of all("[data-of]")) {
      const node = $(`.node[data-id="${CSS.escape(each.dataset.of)}"]`), text = node && $("[data-figure]", node), dot = node && $("circle", node);
      if (text) text.textContent = each.textContent;
      if (dot) dot.setAttribute("class", each.dataset.health);
    }
  });

  // --- Small things.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = $(button.dataset.copy).textContent;
    try { await navigator.clipboard.writeText(text); } catch (error) {
      const range = document.createRange(); range.selectNodeContents($(button.dataset.copy));
      getSelection().removeAllRanges(); getSelection().addRange(range); document.execCommand("copy");
    }
    button.textContent = "Copied";
  });
  for (const select of all("[data-submit]")) select.addEventListener("change", () => select.form.requestSubmit());

  // --- Review: a key is a label; the next item is here already.
  const desk = $("[data-review]");
  if (desk) {
    let chain = Promise.resolve(), prefix = "", counted = Date.now();
    const done = new Set(), current = () => $("[data-item]:not([hidden])", desk);
    async function post(form, name, value) {
      const body = new URLSearchParams(new FormData(form));
      body.set(name, value);
      const reply = await fetch(form.action, { method: "POST", body, headers: { "hx-request": "true" }, keepalive: true });  // also if one leaves the page
      const page = document.createElement("template");
      page.innerHTML = await reply.text();
      const progress = $("[data-progress]");
      if (progress && Date.now() - counted > 5000) { counted = Date.now(); progress.dispatchEvent(new Event("labelled")); }
      if (!reply.ok || value === "undo") { done.clear(); desk.replaceChildren(page.content); return; }
      const here = current() && current().dataset.item, held = new Map();
      for (const old of [...desk.children]) if (old !== current()) { if (old.dataset.item) held.set(old.dataset.item, old); old.remove(); }
      for (const item of [...page.content.children]) {
        const id = item.dataset.item;
        if (id ? done.has(id) || id === here : here && item.matches(".sheet") && !item.querySelector("dl")) continue;
        const shown = held.get(id) || item;  // what is here already is not laid out anew
        shown.hidden = Boolean(id && current());
        desk.append(shown);
      }
    }
    function send(form, name, value) {
      const item = form.closest("[data-item]");
      if (item && value !== "undo") {
        done.add(item.dataset.item);
        item.hidden = true;
        const next = all("[data-item]", desk).find((each) => !done.has(each.dataset.item));
        if (next) { next.hidden = false; focusOn(next); }
      }
      chain = chain.then(() => post(form, name, value)).then(() => { if (current()) focusOn(current()); });
    }
    const focusOn = (item) => { const text = $(".review-text", item); if (text) text.focus({ preventScroll: true }); };
    desk.addEventListener("submit", (event) => { event.preventDefault(); const button = event.submitter; send(event.target, button.name, button.value); });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
      const item = current(), key = event.key === " " ? "space" : event.key.toLowerCase();
      if (!item) return;
      const buttons = all("[data-key]", item), exact = (typed) => buttons.find((each) => each.dataset.key === typed);
      const longer = (typed) => buttons.some((each) => each.dataset.key.startsWith(typed) && each.dataset.key !== typed && each.dataset.key !== "space");
      const typed = exact(prefix + key) || longer(prefix + key) ? prefix + key : key;  // a second key of a pair, or a new one
      const button = exact(typed);
      for (const each of buttons) each.classList.toggle("begun", !button && each.dataset.key.startsWith(typed) && longer(typed));
      prefix = button || !longer(typed) ? "" : typed;
      if (button) { event.preventDefault(); button.click(); }
    });
  }
})();
