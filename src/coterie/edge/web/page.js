import { Bundle, render } from "./coterie.js";

const find = (selector) => document.querySelector(selector);
const description = JSON.parse(find("#bundle").textContent);
const bundle = new Bundle(description, document.baseURI);
window.coterie = bundle; // for the console of a developer

const choice = find("#specialist"), form = find("form"), answer = find("#answer"), bar = find("progress");
const megabytes = (count) => `${(count / 1e6).toFixed(1)} MB`;

function show(name) {
  const { description: what, labels } = description.specialists[name];
  find("#what").textContent = what;
  find("#labels").textContent = `${labels} labels; ${megabytes(bundle.bytes(name).packed)} to read once`;
}

function put(found, milliseconds) {
  answer.replaceChildren();
  const add = (tag, text, kind = "") => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (kind) made.className = kind;
    answer.append(made);
    return made;
  };
  add("p", found.accepted ? found.text : "Not answered", found.accepted ? "value" : "value unsure");
  const why = render(description.words[found.code], found.values);
  const cut = found.truncated ? `; ${description.words["note.text_truncated"]}` : "";
  add("p", `${why}${cut}; ${milliseconds.toFixed(0)} ms`, "why");
  const list = add("ol", "");
  for (const { label, probability } of found.ranked) {
    const item = document.createElement("li"), name = document.createElement("span"), meter = document.createElement("meter");
    name.textContent = `${label} ${probability.toFixed(2)}`;
    meter.value = probability;
    meter.setAttribute("aria-label", label);
    item.append(name, meter);
    list.append(item);
  }
  answer.dataset.code = found.code;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = choice.value;
  answer.removeAttribute("data-code");
  form.querySelector("button").disabled = true;
  bar.hidden = bundle.specialists.has(name);
  bar.max = bundle.unpacked + bundle.bytes(name).size;
  bundle.tick = (read) => { bar.value = read; };
  try {
    const specialist = await bundle.specialist(name);
    const start = performance.now();
    put(await specialist.ask(find("#text").value), performance.now() - start);
  } catch (error) {
    bundle.specialists.delete(name);
    answer.replaceChildren();
    answer.textContent = `It could not be loaded: ${error.message}`;
    answer.dataset.code = "failed";
  } finally {
    bar.hidden = true;
    form.querySelector("button").disabled = false;
  }
});

choice.addEventListener("change", () => show(choice.value));
show(choice.value);
