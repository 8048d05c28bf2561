// The page: photos, their sessions on the server, and the controls.

import { ServerError, closeSession, health, keepSession, openSession, runCrf } from "./api.js";
import { UNKNOWN, drawStroke, fromRuns, maskRuns, paint, rgb, shares, toBlob, toPng, toRuns } from "./labels.js";
import { View } from "./view.js";

const PREVIEW_SIDE = 1000; // pixels of a preview while a slider moves
const KEEP_SECONDS = 20;
const MOST_PHOTOS = 24;

// name: what it is called, what it means, lowest, highest, step
const PARAMETERS = {
  weight: ["Color weight", "w₁: how strongly pixels of similar color pull each other", 0, 20, 0.1],
  sxy: ["Reach", "σα (sxy): how far they pull, in pixels of a photo of 513", 1, 200, 1],
  srgb: ["Color tolerance", "σβ (srgb): how different their colors may be, 0 to 255", 1, 60, 0.5],
  spatial_weight: ["Smoothing", "w₂: how strongly the nearest pixels pull", 0, 20, 0.1],
  spatial_sxy: ["Smoothing reach", "σγ (sxy): how far, in pixels", 0.5, 20, 0.5],
  iterations: ["Steps", "of mean-field inference", 0, 20, 1],
};
const OWN = "this model";
const BACKGROUND = /^(_?background_?|bg)$/i;

const $ = id => document.getElementById(id);
const view = new View($("canvas"));
const photos = [];
let limits = { presets: {}, max_megapixels: 16, max_megabytes: 64 };
let current = null; // the photo that is shown
let job = null; // what is computed: {controller, preview}
let again = null; // what to compute after it
let stroke = null; // the one being drawn

// ---------------------------------------------------------------- photos in

async function addFiles(files) {
  const images = [...files].filter(file => file.type.startsWith("image/") || /\.(tiff?|jp2|p[gp]m|tga)$/i.test(file.name));
  if (!images.length) return files.length && complain(`${files[0].name}: expected a photo, such as JPEG, PNG or WebP.`);
  let first = null;
  for (const file of images.slice(0, MOST_PHOTOS - photos.length)) {
    try {
      const photo = await readPhoto(file);
      photos.push(photo);
      first ??= photo;
    } catch {
      complain(`${file.name}: this browser cannot show this file. Save it as JPEG or PNG, or use the HTTP interface.`);
    }
  }
  if (first) await show(first);
}

// Decode a photo, and scale it down if it is larger than the server takes.
async function readPhoto(file) {
  let bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  const pixels = limits.max_megapixels * 1e6, { width, height } = bitmap;
  const name = file.name || "photo.png";
  if (width * height > pixels || file.size > limits.max_megabytes * 1e6) {
    const scale = Math.min(1, Math.sqrt(0.99 * pixels / (width * height)));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.floor(width * scale));
    canvas.height = Math.max(1, Math.floor(height * scale));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    file = await toBlob(canvas, "image/jpeg", 0.93);
    bitmap = await createImageBitmap(file);
  }
  return { file, name, bitmap, scaledFrom: bitmap.width < width ? [width, height] : null, parameters: {}, strokes: [] };
}

async function example(name) {
  const response = await fetch(`static/examples/${name}`);
  await addFiles([new File([await response.blob()], name, { type: "image/jpeg" })]);
}

async function show(photo) {
  stop();
  if (current && current !== photo) release(current);
  current = photo;
  complain("");
  $("empty").hidden = true;
  $("result").hidden = $("panel").hidden = false;
  view.setPhoto(photo.bitmap);
  setTool("look");
  $("rough").hidden = photo.name !== "astronaut.jpg";
  drawStrip();
  refreshControls();
  if (photo.after) redraw();
  else await compute();
}

function drawStrip() {
  $("strip").hidden = photos.length < 2;
  $("strip").replaceChildren(...photos.map(photo => {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    canvas.width = 168;
    canvas.height = 126;
    const scale = Math.max(168 / photo.bitmap.width, 126 / photo.bitmap.height);
    const width = scale * photo.bitmap.width, height = scale * photo.bitmap.height;
    canvas.getContext("2d").drawImage(photo.bitmap, (168 - width) / 2, (126 - height) / 2, width, height);
    button.append(canvas);
    button.title = photo.name;
    button.setAttribute("role", "option");
    button.setAttribute("aria-label", photo.name);
    button.setAttribute("aria-selected", photo === current);
    button.onclick = () => photo !== current && show(photo);
    return button;
  }));
}

// ---------------------------------------------------------------- computing

// Compute what is shown: the network if the server has no session of the photo, then the CRF.
async function compute({ preview = false } = {}) {
  if (job?.preview) {
    again = { preview };
    return;
  }
  stop();
  const photo = current, mine = job = { controller: new AbortController(), preview };
  const { signal } = mine.controller;
  try {
    for (let attempt = 0; ; attempt++) {
      try {
        await computeOnce(photo, mine, signal);
        break;
      } catch (error) {
        if (!(error instanceof ServerError && error.status === 404 && attempt === 0)) throw error;
        photo.session = null; // the server deletes sessions after a while
      }
    }
    complain("");
  } catch (error) {
    if (error.name !== "AbortError") complain(sentence(error.message));
    else if (job === mine && !photo.after) complain("Canceled.");
  }
  if (job !== mine) return;
  job = null;
  busy(null);
  refreshControls();
  if (again) {
    const next = again;
    again = null;
    await compute(next);
  }
}

async function computeOnce(photo, mine, signal) {
  const started = performance.now();
  if (!photo.session) {
    busy("Uploading", 0, started);
    const onProgress = share => job === mine && (share < 1 ? busy("Uploading", share) : busy(photo.mask ? "Reading the mask" : "Network"));
    const session = await openSession(photo, photo.mask, { signal, onProgress });
    photo.session = session.id;
    photo.classes = session.classes;
    photo.colors = session.classes.map(each => rgb(each.overlay));
    photo.defaults = session.crf;
    photo.parameters = Object.keys(photo.parameters).length ? photo.parameters : pick(session.crf);
    photo.before = fromRuns(session.before);
    photo.seconds = { network: session.seconds };
    photo.shown ??= new Set([...photo.classes.keys()].filter(label => label || !BACKGROUND.test(photo.classes[0].name)));
    if (signal.aborted) throw new DOMException("canceled", "AbortError");
    if (photo === current) {
      fillBrushes();
      redraw();
    }
  }
  const large = Math.max(photo.before.width, photo.before.height) > PREVIEW_SIDE;
  if (!mine.preview) busy("CRF", undefined, started);
  const request = { ...photo.parameters };
  if (mine.preview && large) request.max_side = PREVIEW_SIDE;
  if (photo.strokes.length) {
    request.strokes = toRuns(strokeMap(photo));
    request.confidence = Number($("confidence").value);
    request.use_scores = $("use-scores").checked;
  }
  const result = await runCrf(photo.session, request, signal);
  photo.after = fromRuns(result.after);
  photo.reduction = result.reduction;
  photo.seconds.crf = result.seconds;
  photo.complete = !request.max_side;
  if (photo === current) redraw();
}

function stop() {
  again = null;
  job?.controller.abort();
  job = null;
  busy(null);
}

function release(photo) {
  if (photo.session) closeSession(photo.session);
  photo.session = null;
}

let clock = null;
function busy(stage, share, started) {
  $("busy").hidden = !stage;
  $("view").setAttribute("aria-busy", Boolean(stage));
  if (!stage) {
    clearInterval(clock);
    clock = null;
    return;
  }
  if (started !== undefined) {
    clearInterval(clock);
    const tick = () => $("elapsed").textContent = `${((performance.now() - started) / 1000).toFixed(1)} s`;
    tick();
    clock = setInterval(tick, 100);
  }
  $("stage-name").textContent = share === undefined ? `${stage} …` : `${stage}, ${Math.round(100 * share)} %`;
  if (share === undefined) $("progress").removeAttribute("value");
  else $("progress").value = share;
}

function complain(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text;
}

const sentence = text => /[.?!]$/.test(text) ? text : `${text}.`;
const pick = parameters => Object.fromEntries(Object.keys(PARAMETERS).map(name => [name, parameters[name]]));

// ---------------------------------------------------------------- what is shown

function redraw() {
  const { before, after, colors, shown } = current;
  if (!before) return;
  const opacity = Number($("opacity").value);
  view.layers.before = paint(before, colors, shown, opacity);
  view.layers.after = after ? paint(after, colors, shown, opacity) : null;
  view.draw();
  drawStrokes();
  drawLegend();
  const { bitmap, seconds, reduction, scaledFrom, complete } = current;
  const empty = after?.data.every(label => label === 0) && BACKGROUND.test(current.classes[0].name);
  const parts = empty ? ["Nothing found here of what the network knows. Draw it with the brush."] : [];
  parts.push(`${bitmap.width} × ${bitmap.height} pixels`);
  if (scaledFrom) parts.push(`scaled down from ${scaledFrom.join(" × ")}`);
  parts.push(`${current.mask ? "mask" : "network"} ${seconds.network.toFixed(2)} s`);
  if (after) parts.push(`CRF ${seconds.crf.toFixed(2)} s${complete ? "" : " (preview)"}`);
  if (reduction > 1) parts.push(`a noisy photo: the CRF saw blocks of ${reduction} × ${reduction} pixels`);
  $("status").textContent = parts.join(" · ");
  $("left-name").textContent = current.mask ? "your mask" : "network alone";
}

function drawLegend() {
  const before = shares(current.before), after = current.after ? shares(current.after) : before;
  const labels = [...before.keys()].filter(label => before[label] >= 0.001 || after[label] > 0);
  labels.sort((a, b) => after[b] - after[a] || before[b] - before[a]);
  const focused = document.activeElement?.dataset?.label;
  $("legend").replaceChildren(...labels.map(label => {
    const row = document.createElement("tr"), head = document.createElement("th"), name = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: current.shown.has(label) });
    box.dataset.label = label;
    box.onchange = () => {
      current.shown[box.checked ? "add" : "delete"](label);
      redraw();
    };
    const chip = document.createElement("span");
    chip.className = "chip";
    chip.style.background = `rgb(${current.colors[label] ?? [128, 128, 128]})`;
    name.append(box, chip, className(label));
    head.scope = "row";
    head.append(name);
    row.append(head, cell(before[label]), cell(after[label]));
    return row;
  }));
  if (focused) document.querySelector(`#legend [data-label="${focused}"]`)?.focus();
}

function cell(share) {
  const text = share === 0 ? "–" : share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
  return Object.assign(document.createElement("td"), { textContent: text });
}

const className = label => label === UNKNOWN ? "unknown" : current.classes?.[label]?.title ?? `class ${label}`;

view.onSplit = split => $("split").value = split;
view.onHover = (at, side, place) => {
  const map = side === "right" && current?.after ? current.after : current?.before;
  $("tip").hidden = !at || !map;
  if ($("tip").hidden) return;
  const x = Math.floor(at.x * map.width / current.bitmap.width), y = Math.floor(at.y * map.height / current.bitmap.height);
  $("tip").textContent = className(map.data[y * map.width + x]);
  const room = $("view").clientWidth - $("tip").offsetWidth - 4;
  $("tip").style.left = `${Math.max(4, Math.min(room, place.x + 14))}px`;
  $("tip").style.top = `${Math.max(4, place.y - 32)}px`;
};

// ---------------------------------------------------------------- strokes

function strokeMap(photo) {
  const { width, height } = photo.bitmap;
  const map = { width, height, data: new Uint8Array(width * height).fill(UNKNOWN) };
  for (const each of photo.strokes) drawStroke(map, each);
  return map;
}

function drawStrokes() {
  const { strokes } = current;
  const any = strokes.length > 0;
  $("undo").disabled = $("clear").disabled = !any;
  const shown = new Set(current.colors?.keys());
  view.layers.strokes = any ? paint(strokeMap(current), [...shown].map(strokeColor), shown, 0.85) : null;
  view.draw();
}

// Background is drawn in white; erasing in gray.
const strokeColor = label => label === UNKNOWN ? [128, 128, 128] : label ? current.colors[label] : [255, 255, 255];

view.onStroke = (at, phase) => {
  if (phase === "start") {
    const size = Number($("brush-size").value) / view.scale;
    const label = view.tool === "erase" ? UNKNOWN : Number($("brush-class").value);
    const color = `rgb(${strokeColor(label)})`;
    view.stroke = stroke = { label, size: Math.max(1, size), points: [[at.x, at.y]], color };
  } else if (phase === "move") {
    stroke?.points.push([at.x, at.y]);
  } else if (stroke) {
    if (phase === "end") current.strokes.push(stroke);
    view.stroke = stroke = null;
    if (phase === "end") return strokesChanged();
  }
  view.draw();
};

function strokesChanged() {
  if (current.strokes.every(each => each.label === UNKNOWN)) current.strokes = [];
  drawStrokes();
  const labels = new Set(current.strokes.map(each => each.label).filter(label => label !== UNKNOWN));
  if (current.strokes.length && !$("use-scores").checked && labels.size < 2) {
    complain("Now draw a second class too, such as background: the CRF divides the photo between what you draw.");
    return;
  }
  compute();
}

function setTool(tool) {
  view.tool = tool;
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === tool);
  const drawing = tool !== "look";
  $("stroke-options").hidden = !drawing;
  $("left-name").hidden = $("bar").hidden = drawing;
  view.draw();
}

function fillBrushes() {
  const chosen = $("brush-class").value;
  $("brush-class").replaceChildren(...current.classes.map((each, label) => new Option(each.title, label)));
  const largest = [...shares(current.before).entries()].filter(([label]) => label > 0).sort((a, b) => b[1] - a[1])[0];
  $("brush-class").value = chosen && current.classes[chosen] ? chosen : largest?.[1] ? largest[0] : Math.min(1, current.classes.length - 1);
}

// ---------------------------------------------------------------- controls

function makeParameters() {
  for (const [name, [title, meaning, lowest, highest, step]] of Object.entries(PARAMETERS)) {
    const label = document.createElement("label"), value = document.createElement("span"), small = document.createElement("small");
    const input = Object.assign(document.createElement("input"), { type: "range", min: lowest, max: highest, step, id: `crf-${name}` });
    small.textContent = meaning;
    value.id = `value-${name}`;
    label.append(title, value, input, small);
    $("parameters").append(label);
    const changed = preview => () => {
      value.textContent = input.value;
      current.parameters[name] = Number(input.value);
      if (current.session || !preview) compute({ preview });
    };
    input.oninput = changed(true);
    input.onchange = changed(false);
  }
}

function refreshControls() {
  if (!current) return;
  for (const name of Object.keys(PARAMETERS)) {
    const value = current.parameters[name];
    if (value === undefined || document.activeElement === $(`crf-${name}`)) continue;
    $(`crf-${name}`).max = Math.max(PARAMETERS[name][3], value);
    $(`crf-${name}`).value = value;
    $(`value-${name}`).textContent = Number(value.toPrecision(3)); // learned ones have many digits
  }
  $("own-network").hidden = !current.mask;
  for (const button of document.querySelectorAll("[data-save]")) button.disabled = !current.after;
  $("use-name").textContent = current.mask ? "Use the mask too" : "Use the network's labels too";
}

function setParameters(parameters) {
  document.activeElement?.blur?.();
  current.parameters = pick(parameters);
  refreshControls();
  compute();
}

function setMask(mask) {
  release(current);
  Object.assign(current, { mask, after: null, before: null, shown: undefined, strokes: [] });
  view.setPhoto(current.bitmap);
  compute();
}

async function save(kind) {
  if (!current.complete) await compute(); // a preview is not saved
  const { after, before, bitmap, classes, colors, shown, parameters } = current;
  const stem = current.name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}_-]+/gu, "_") || "photo";
  const canvas = Object.assign(document.createElement("canvas"), { width: after.width, height: after.height });
  const context = canvas.getContext("2d");
  if (kind === "mask") {
    download(await toPng(after, classes.map(each => each.color)), `${stem}.png`);
  } else if (kind === "overlay") {
    context.drawImage(bitmap, 0, 0, after.width, after.height);
    context.drawImage(paint(after, colors, shown, Number($("opacity").value)), 0, 0);
    download(await toBlob(canvas, "image/jpeg", 0.92), `${stem}.overlay.jpg`);
  } else if (kind === "cutout") {
    context.drawImage(paint(after, colors, shown, 1), 0, 0);
    context.globalCompositeOperation = "source-in";
    context.drawImage(bitmap, 0, 0, after.width, after.height);
    download(await toBlob(canvas, "image/png"), `${stem}.cutout.png`);
  } else {
    const found = shares(after), network = shares(before);
    const labels = [...found.keys()].filter(label => found[label] > 0).sort((a, b) => found[b] - found[a]);
    const entries = labels.map(label => ({
      id: label, name: classes[label]?.name ?? className(label), color: classes[label]?.color, pixels: Math.round(found[label] * after.data.length),
      share: found[label], share_without_crf: network[label], mask: maskRuns(after, label),
    }));
    const text = JSON.stringify({ width: after.width, height: after.height, crf: parameters, classes: entries });
    download(new Blob([text], { type: "application/json" }), `${stem}.json`);
  }
}

function download(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// ---------------------------------------------------------------- camera

async function openCamera() {
  try {
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
    $("camera-dialog").showModal();
  } catch (error) {
    complain(`The camera cannot be used (${error.name ?? error}). Browsers allow it on localhost and https addresses only.`);
  }
}

function closeCamera() {
  for (const track of $("video").srcObject?.getTracks() ?? []) track.stop();
  $("video").srcObject = null;
  $("camera-dialog").close();
}

async function shoot() {
  const canvas = Object.assign(document.createElement("canvas"), { width: $("video").videoWidth, height: $("video").videoHeight });
  canvas.getContext("2d").drawImage($("video"), 0, 0);
  closeCamera();
  await addFiles([new File([await toBlob(canvas, "image/jpeg", 0.95)], "camera.jpg", { type: "image/jpeg" })]);
}

// ---------------------------------------------------------------- start

function listen() {
  $("choose").onclick = $("new").onclick = () => $("files").click();
  $("files").onchange = event => {
    addFiles([...event.target.files]);
    event.target.value = "";
  };
  $("camera").onclick = openCamera;
  $("camera-close").onclick = closeCamera;
  $("camera-dialog").oncancel = closeCamera;
  $("shoot").onclick = shoot;
  for (const button of document.querySelectorAll("[data-example]")) button.onclick = () => example(button.dataset.example);
  let inside = 0;
  addEventListener("dragenter", () => document.body.classList.toggle("over", ++inside > 0));
  addEventListener("dragleave", () => document.body.classList.toggle("over", --inside > 0));
  addEventListener("dragover", event => event.preventDefault());
  addEventListener("drop", event => {
    event.preventDefault();
    document.body.classList.toggle("over", (inside = 0) > 0);
    addFiles([...event.dataTransfer.files]);
  });
  addEventListener("paste", event => event.clipboardData.files.length && addFiles([...event.clipboardData.files]));
  addEventListener("pagehide", () => photos.forEach(release));
  setInterval(() => {
    const photo = current;
    if (photo?.session && !document.hidden) keepSession(photo.session).catch(() => photo.session = null);
  }, 1000 * KEEP_SECONDS);

  $("cancel").onclick = () => {
    stop();
    if (!current.after) complain("Canceled. Choose a photo, or a value of the CRF, to go on.");
  };
  $("split").oninput = event => {
    view.split = Number(event.target.value);
    view.draw();
  };
  $("opacity").oninput = event => {
    $("opacity-value").textContent = `${Math.round(100 * event.target.value)} %`;
    redraw();
  };
  $("zoom-in").onclick = () => view.zoom(1.4);
  $("zoom-out").onclick = () => view.zoom(1 / 1.4);
  $("zoom-fit").onclick = () => view.fit();
  for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => setTool(button.dataset.tool);
  for (const button of document.querySelectorAll("[data-save]")) {
    button.onclick = () => save(button.dataset.save).catch(error => complain(sentence(error.message)));
  }
  $("undo").onclick = () => {
    current.strokes.pop();
    strokesChanged();
  };
  $("clear").onclick = () => {
    current.strokes = [];
    strokesChanged();
  };
  addEventListener("keydown", event => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z" && current?.strokes.length) $("undo").click();
  });
  $("brush-class").onchange = () => setTool("brush");
  $("use-scores").onchange = () => current.strokes.length && strokesChanged();
  $("confidence").oninput = event => $("confidence-value").textContent = Number(event.target.value).toFixed(2);
  $("confidence").onchange = () => current.strokes.length && compute();
  $("preset").onchange = event => setParameters({ ...current.defaults, ...limits.presets[event.target.value] });
  $("reset").onclick = () => {
    $("preset").value = OWN;
    setParameters(current.defaults);
  };
  $("mask").onchange = event => {
    if (event.target.files.length) setMask(event.target.files[0]);
    event.target.value = "";
  };
  $("rough").onclick = async () => {
    const response = await fetch("static/examples/astronaut-rough.png");
    setMask(new File([await response.blob()], "astronaut-rough.png"));
  };
  $("own-network").onclick = () => setMask(null);
  $("all-classes").onclick = () => {
    const hidden = $("class-list").hidden = !$("class-list").hidden;
    $("all-classes").setAttribute("aria-expanded", !hidden);
  };
}

makeParameters();
listen();
try {
  limits = await health();
  const things = limits.titles.slice(1);
  $("count").textContent = things.length;
  $("class-list").textContent = `${things.join(", ")}.`;
  $("preset").replaceChildren(...[OWN, ...Object.keys(limits.presets)].map(name => new Option(name)));
} catch (error) {
  complain(sentence(error.message));
}
document.documentElement.dataset.ready = "true";
