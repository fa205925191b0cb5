"use strict";

// The page of `earwitness app`. It talks to its own server and to nothing else; everything that comes
// from a recording or a person is put in as text, never as HTML.

const OWN = { "X-Earwitness": "1" };
const MARKS = { bonafide: "▲", spoof: "▼", inconclusive: "◆" };
const MOST_SEGMENTS = 240;
const state = { cases: [], chosen: null, beside: null, about: {}, timer: null, listed: "", saving: new Set() };
const $ = (id) => document.getElementById(id);

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { ...OWN, ...(options.headers || {}) } });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.status === 204 ? null : answer.json();
}

async function reason(answer) {
  const text = await answer.text();
  try {
    const detail = JSON.parse(text).detail;
    return typeof detail === "string" ? detail : text;
  } catch {
    return text || `the program answered ${answer.status}`;
  }
}

function say(text) { $("said").textContent = text; }

function clock(seconds) {
  const whole = Math.round(seconds), hours = Math.floor(whole / 3600);
  const rest = `${Math.floor(whole / 60) % 60}:${String(whole % 60).padStart(2, "0")}`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return hours ? `${hours}:${rest.padStart(5, "0")}` : rest;
}

// Sending.

function send(file, name) {
  if (!file) return;
  const form = new FormData(), reference = $("reference").files[0];
  form.append("recording", file, name || file.name);
  if (reference) form.append("reference", reference, reference.name);
  $("reference").value = "";  // the next recording may be of another speaker
  const request = new XMLHttpRequest(), bar = $("sent");
  request.open("POST", "/api/cases");
  request.setRequestHeader("X-Earwitness", "1");
  request.upload.onprogress = (event) => { bar.hidden = false; bar.value = event.loaded / event.total; };
  request.onload = async () => {
    bar.hidden = true;
    if (request.status !== 202) {
      say(`Not taken: ${await reason(new Response(request.responseText, { status: 400 }))}`);
      return;
    }
    const made = JSON.parse(request.responseText);
    say(`${made.name} is being heard.`);
    await choose(made.id);
    report(made.id);
  };
  request.onerror = () => { bar.hidden = true; say("The program doesn't answer; is it still running?"); };
  request.send(form);
}

function prepareForm() {
  const input = $("recording"), drop = $("drop");
  input.addEventListener("change", () => { for (const file of input.files) send(file); input.value = ""; });
  for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") for (const file of event.dataTransfer.files) send(file);
    });
  }
  $("form").addEventListener("submit", (event) => event.preventDefault());
  prepareRecorder($("record"));
}

// Recording: the browser's own format is decoded here and sent as WAV.

function prepareRecorder(button) {
  let recorder = null;
  if (!navigator.mediaDevices || !window.MediaRecorder) { button.hidden = true; return; }
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", async () => {
    if (recorder) { recorder.stop(); return; }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      say(`No microphone: ${error.message}`);
      return;
    }
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = async () => {
      stream.getTracks().forEach((track) => track.stop());
      recorder = null;
      button.textContent = "Record";
      button.setAttribute("aria-pressed", "false");
      const name = `recorded-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.wav`;
      send(await asWav(new Blob(parts)), name);
    };
    recorder.start();
    button.textContent = "Stop recording";
    button.setAttribute("aria-pressed", "true");
    say("Recording.");
  });
}

async function asWav(blob) {
  const context = new AudioContext();
  const sound = await context.decodeAudioData(await blob.arrayBuffer());
  context.close();
  const wave = sound.getChannelData(0), bytes = new DataView(new ArrayBuffer(44 + 2 * wave.length));
  const text = (at, word) => [...word].forEach((c, n) => bytes.setUint8(at + n, c.charCodeAt(0)));
  text(0, "RIFF"); bytes.setUint32(4, 36 + 2 * wave.length, true); text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true); bytes.setUint16(20, 1, true); bytes.setUint16(22, 1, true);
  bytes.setUint32(24, sound.sampleRate, true); bytes.setUint32(28, 2 * sound.sampleRate, true);
  bytes.setUint16(32, 2, true); bytes.setUint16(34, 16, true);
  text(36, "data"); bytes.setUint32(40, 2 * wave.length, true);
  wave.forEach((value, n) => bytes.setInt16(44 + 2 * n, 32767 * Math.max(-1, Math.min(1, value)), true));
  return new Blob([bytes], { type: "audio/wav" });
}

// The list.

async function refresh() {
  state.cases = await ask("/api/cases");
  const list = $("cases"), now = JSON.stringify([state.cases, state.chosen, state.beside]);
  if (now !== state.listed) {  // as it is, it keeps the focus, and a click that has begun
    const held = document.activeElement && document.activeElement.dataset.case;
    list.replaceChildren(...state.cases.map(listed));
    if (held) [...list.querySelectorAll("button")].find((button) => button.dataset.case === held)?.focus();
    state.listed = now;
  }
  $("none").hidden = state.cases.length > 0;
  $("delete-all").hidden = state.cases.length === 0;
  clearTimeout(state.timer);
  const busy = state.cases.some((one) => one.status === "waiting" || one.status === "hearing");
  if (busy) state.timer = setTimeout(follow, 600);
}

async function follow() {
  try {
    const before = JSON.stringify(state.cases.map((one) => [one.id, one.status]));
    await refresh();
    if (JSON.stringify(state.cases.map((one) => [one.id, one.status])) === before) return;
    report(state.chosen);
    await show();
  } catch {
    say("The program doesn't answer; is it still running?");
    state.timer = setTimeout(follow, 3000);
  }
}

function report(id) {
  const heard = state.cases.find((one) => one.id === id);
  if (heard && heard.status === "done") say(`${heard.name}: ${heard.conclusion}.`);
  if (heard && heard.status === "failed") say(`${heard.name} can't be used.`);
}

function listed(one) {
  const item = document.createElement("li"), button = document.createElement("button");
  const small = document.createElement("small");
  button.type = "button";
  button.dataset.case = one.id;
  button.textContent = one.name;
  button.setAttribute("aria-current", String(one.id === state.chosen || one.id === state.beside));
  const about = one.status === "done" ? `${MARKS[one.conclusion]} ${one.conclusion}, ${clock(one.seconds)}` : status(one);
  small.textContent = [about, when(one), one.note.slice(0, 60)].filter(Boolean).join(" · ");
  button.append(small);
  button.addEventListener("click", () => choose(one.id));
  item.append(button);
  return item;
}

function when(one) {
  return new Date(1000 * one.came).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" });
}

function status(one) {
  return { waiting: "waits its turn", hearing: "is being heard", failed: "can't be used", done: "" }[one.status];
}

async function choose(id) {
  await Promise.allSettled(state.saving);
  state.chosen = id;
  state.beside = null;
  await tried(async () => { await refresh(); await show(); });
  if (matchMedia("(max-width: 52rem)").matches) $("case").scrollIntoView();
}

// A case.

async function show() {
  const place = $("case"), ids = [state.chosen, state.beside].filter(Boolean);
  const found = [];
  for (const id of ids) {
    try { found.push(await ask(`/api/cases/${id}`)); } catch { /* deleted meanwhile */ }
  }
  const typing = place.contains(document.activeElement) && document.activeElement.tagName === "TEXTAREA";
  if (typing && found.length) { found.forEach((one) => fill(place.querySelector(`[data-id="${one.id}"]`), one, true)); return; }
  silence();
  const held = place.contains(document.activeElement) && document.activeElement;
  const id = held && held.closest("article")?.dataset.id, what = held && held.tagName === "SELECT" ? "select" : ".name";
  place.classList.toggle("two", found.length === 2);
  place.replaceChildren(...found.map(drawn));
  if (held) (place.querySelector(`[data-id="${id}"] ${what}`) || place).focus();
  if (!found.length) place.innerHTML = '<p class="quiet">Choose a recording, or one of the cases.</p>';
}

function drawn(one) {
  const article = $("case-template").content.cloneNode(true).querySelector("article");
  article.dataset.id = one.id;
  article.querySelector(".name").textContent = one.name;
  const note = article.querySelector("textarea"), saved = article.querySelector(".saved");
  note.value = one.note;
  let timer = null;
  const keep = () => {
    if (timer === null) return;
    clearTimeout(timer);
    timer = null;
    const saving = keepNote(one.id, note, saved).finally(() => state.saving.delete(saving));
    state.saving.add(saving);
  };
  note.addEventListener("input", () => {
    saved.textContent = "";
    clearTimeout(timer);
    timer = setTimeout(keep, 500);
  });
  note.addEventListener("blur", keep);
  window.addEventListener("pagehide", keep);
  article.querySelector(".delete").addEventListener("click", () => remove(one));
  compared(article.querySelector("select"), one);
  fill(article, one, false);
  return article;
}

async function keepNote(id, note, saved) {
  try {
    const body = JSON.stringify({ note: note.value });
    await ask(`/api/cases/${id}/note`, { method: "PUT", body, keepalive: body.length < 60000, headers: { "Content-Type": "application/json" } });
    saved.textContent = "saved";
    const known = state.cases.find((one) => one.id === id);
    if (known) known.note = note.value;
  } catch (error) {
    saved.textContent = `not saved: ${error.message}`;
  }
}

function fill(article, one, again) {
  if (!article) return;
  const said = article.querySelector(".state"), found = article.querySelector(".found");
  said.textContent = one.status === "failed" ? `Can't be used: ${one.error}` : one.status === "done" ? "" : `It ${status(one)}.`;
  said.classList.toggle("failed", one.status === "failed");
  if (one.status !== "done") return;
  const told = one.found;
  const put = (name, text) => { article.querySelector(name).textContent = text; };
  const verdict = article.querySelector(".verdict");
  verdict.classList.add(told.conclusion);
  put(".mark", MARKS[told.conclusion]);
  put(".word", told.conclusion);
  put(".why", told.why);
  put(".confidence", told.confidence);
  put(".headline", `${told.word}: ${told.headline}`);
  put(".meaning", `${told.meaning} ${told.base_rate}`);
  const items = (list) => list.map((text) => Object.assign(document.createElement("li"), { textContent: text }));
  article.querySelector(".sentences").replaceChildren(...items(told.sentences));
  article.querySelector(".limits").replaceChildren(...items(told.limits));
  if (one.reference) {
    const beside = article.querySelector(".with-reference");
    beside.hidden = false;
    beside.textContent = told.with_reference === null
      ? `Reference: ${one.reference}. This detector hears no reference; the score is without it.`
      : `With the reference ${one.reference} the score is ${signed(told.with_reference)}, without it ${signed(told.score)}.`;
  }
  for (const kind of ["html", "pdf"]) article.querySelector(`.${kind}`).href = `/api/cases/${one.id}/report.${kind}`;
  for (const name of told.telling_window.method ? ["plane", "patches"] : ["plane"]) {
    const image = article.querySelector(`.${name}`);
    if (!image.src) image.src = `/api/cases/${one.id}/${name}.png`;
    image.parentElement.hidden = false;
  }
  const heard = article.querySelector(".heard"), own = told.settings.detector === state.about.digest;
  heard.textContent = `Given ${when(one)}, heard by detector ${told.settings.detector.slice(0, 12)}`
    + (own ? "." : ", which is another than the one that this page was started with: its verdicts can't be held against that one's.");
  heard.classList.toggle("old", !own);
  for (const kind of ["html", "pdf"]) article.querySelector(`.${kind}`).hidden = !own;
  if (!again || found.hidden) timeline(article, one);
  found.hidden = false;
}

function signed(value) { return `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(2)}`; }

function timeline(article, one) {
  const told = one.found, sound = article.querySelector("audio"), head = article.querySelector(".head");
  const picture = article.querySelector(".picture"), image = picture.querySelector("img");
  sound.src = `/api/cases/${one.id}/sound`;
  image.src = `/api/cases/${one.id}/spectrogram`;
  image.alt = `Spectrogram of ${one.name}, ${clock(told.seconds)}, 0 to 8 kHz`;
  article.querySelector(".end").textContent = clock(told.seconds);
  const parts = grouped(told), most = Math.max(1e-9, ...parts.map((part) => Math.abs(part.evidence)));
  article.querySelector(".line").textContent = told.line;
  const buttons = parts.map((part, n) => segment(part, n, most, told.seconds));
  let until = Infinity;
  buttons.forEach((button, n) => {
    button.addEventListener("click", () => {
      buttons.forEach((other) => { other.tabIndex = other === button ? 0 : -1; });
      sound.currentTime = parts[n].start;
      until = parts[n].end;
      play(sound);
      article.querySelector(".segment-said").textContent = button.getAttribute("aria-label");
    });
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const next = buttons[n + (step || 0)];
      if (!step || !next) return;
      event.preventDefault();
      button.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  });
  const segments = article.querySelector(".segments");
  segments.replaceChildren(...buttons);
  segments.classList.toggle("many", parts.length > 60);
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    until = Infinity;
    sound.currentTime = told.seconds * (event.clientX - box.left) / box.width;
    play(sound);
  });
  sound.addEventListener("timeupdate", () => {
    if (sound.currentTime >= until) { sound.pause(); until = Infinity; }
    head.hidden = false;
    head.style.left = `${100 * sound.currentTime / told.seconds}%`;
    buttons.forEach((button, n) => button.classList.toggle("playing", !sound.paused
      && sound.currentTime >= parts[n].start && sound.currentTime < parts[n].shown));
  });
}

// To be stopped before it has begun is no error.
function play(sound) { sound.play().catch(() => {}); }

// A player that is taken away must not go on asking for its sound.
function silence() {
  for (const sound of document.querySelectorAll("audio")) {
    sound.pause();
    sound.removeAttribute("src");
    sound.load();
  }
}

// Before something is deleted: nobody may ask for it any more.
function leave() {
  silence();
  clearTimeout(state.timer);
}

// Windows overlap: each is shown until the next begins, and heard to its own end.
function grouped(told) {
  const { windows, seconds, settings } = told, length = settings.windows.seconds;
  const size = Math.ceil(windows.length / MOST_SEGMENTS), parts = [];
  for (let n = 0; n < windows.length; n += size) {
    const some = windows.slice(n, n + size), after = windows[n + size];
    const mean = (values) => values.reduce((sum, one) => sum + one, 0) / values.length;
    // Of several windows in one bar the one that speaks for spoof is shown, so that none is averaged away.
    const said = told.evidence.slice(n, n + size), least = said.indexOf(Math.min(...said));
    const shown = said[least] < 0 ? { score: some[least].score, evidence: said[least] }
      : { score: mean(some.map((one) => one.score)), evidence: mean(said) };
    const end = Math.min(seconds, some[some.length - 1].start + length);
    parts.push({ start: some[0].start, end, shown: after ? after.start : seconds, ...shown, count: some.length });
  }
  return parts;
}

function segment(part, n, most, seconds) {
  const button = document.createElement("button"), bar = document.createElement("i");
  const side = part.evidence >= 0 ? "bonafide" : "spoof";
  const of = part.count > 1 ? `, ${side === "spoof" ? "the lowest" : "the mean"} of ${part.count} windows` : "";
  button.type = "button";
  button.className = side;
  button.tabIndex = n ? -1 : 0;
  button.style.left = `${100 * part.start / seconds}%`;
  button.style.width = `${100 * (part.shown - part.start) / seconds}%`;
  button.setAttribute("aria-label", `${part.start.toFixed(1)} to ${part.end.toFixed(1)} s: speaks for ${side}, score ${signed(part.score)}${of}`);
  button.title = button.getAttribute("aria-label");
  bar.style.height = `${Math.max(2, 48 * Math.abs(part.evidence) / most)}%`;
  button.append(bar);
  return button;
}

function compared(select, one) {
  const others = state.cases.filter((other) => other.id !== one.id && other.status === "done");
  const option = (value, text) => Object.assign(document.createElement("option"), { value, textContent: text });
  select.replaceChildren(option("", "nothing"), ...others.map((other) => option(other.id, `${other.name} (${when(other)})`)));
  const other = one.id === state.chosen ? state.beside : state.chosen;
  select.value = state.beside && other ? other : "";
  select.addEventListener("change", async () => {
    state.chosen = one.id;
    state.beside = select.value || null;
    await tried(async () => { await refresh(); await show(); });
  });
}

async function remove(one) {
  if (!confirm(`Delete ${one.name}, what was found and the note from this computer?`)) return;
  leave();
  if (state.chosen === one.id) state.chosen = state.beside;
  state.beside = null;
  await tried(() => ask(`/api/cases/${one.id}`, { method: "DELETE" }));
  say(`${one.name} is deleted.`);
  await tried(async () => { await refresh(); await show(); });
  $("case").focus();
}

// What the program can't do any more is said, and the page shows what is there now.
async function tried(act) {
  try {
    await act();
  } catch (error) {
    say(error instanceof TypeError ? "The program doesn't answer; is it still running?" : error.message);
  }
}

async function start() {
  prepareForm();
  $("delete-all").addEventListener("click", async () => {
    if (!confirm("Delete all cases from this computer?")) return;
    leave();
    state.chosen = state.beside = null;
    await tried(async () => {
      await ask("/api/cases", { method: "DELETE" });
      say("All cases are deleted.");
      await refresh();
      await show();
    });
  });
  state.about = await ask("/api/about");
  $("worth").textContent = state.about.worth;
  $("digest").textContent = state.about.digest.slice(0, 16);
  $("version").textContent = `earwitness ${state.about.version}`;
  $("kept").textContent = state.about.kept_in;
  $("stand-in").hidden = !state.about.stand_in;
  $("no-reference").hidden = state.about.hears_reference;
  $("reference-row").hidden = !state.about.hears_reference;
  await refresh();
}

start().catch((error) => say(`The page can't start: ${error.message}`));
