// The canvas: the photo under two layers of colors with a dividing line, moved and zoomed by mouse, touch and keys.

const GRIP = 14; // pixels within which the dividing line is grabbed
const MOST_ZOOM = 40;

export class View {
  split = 0.5;
  tool = "look";
  layers = { before: null, after: null, strokes: null };
  stroke = null; // the one being drawn: {points, size, color}
  onSplit = () => {};
  onHover = () => {}; // ({x, y} in the photo or null, left or right, {x, y} on the canvas)
  onStroke = () => {}; // ({x, y} in the photo, "start", "move" or "end")

  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.pointers = new Map();
    new ResizeObserver(() => this.#resize()).observe(canvas);
    canvas.addEventListener("wheel", event => this.#wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", event => this.#down(event));
    canvas.addEventListener("pointermove", event => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, event => this.#up(event));
    canvas.addEventListener("pointerleave", () => this.onHover(null));
    canvas.addEventListener("dblclick", () => this.tool === "look" && this.fit());
    canvas.addEventListener("keydown", event => this.#key(event));
  }

  setPhoto(bitmap) {
    this.photo = bitmap;
    this.layers = { before: null, after: null, strokes: null };
    this.stroke = null;
    this.fit();
  }

  fit() {
    this.fitted = true;
    if (!this.photo) return;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.scale = Math.min(width / this.photo.width, height / this.photo.height);
    this.left = (width - this.scale * this.photo.width) / 2;
    this.top = (height - this.scale * this.photo.height) / 2;
    this.draw();
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.min(MOST_ZOOM, Math.max(0.05, this.scale * factor));
    this.left = x - (x - this.left) * scale / this.scale;
    this.top = y - (y - this.top) * scale / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  pan(x, y) {
    this.left += x;
    this.top += y;
    this.fitted = false;
    this.draw();
  }

  draw() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.#draw();
    });
  }

  #draw() {
    const { context, canvas, photo, layers } = this, ratio = devicePixelRatio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!photo) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.imageSmoothingEnabled = this.scale < 3;
    const place = [this.left, this.top, this.scale * photo.width, this.scale * photo.height];
    context.drawImage(photo, ...place);
    const x = this.#splitAt();
    const width = canvas.clientWidth, height = canvas.clientHeight;
    for (const [layer, from, to] of [[layers.before, 0, layers.after ? x : width], [layers.after, x, width]]) {
      if (!layer) continue;
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, height);
      context.clip();
      context.drawImage(layer, ...place);
      context.restore();
    }
    if (layers.strokes) context.drawImage(layers.strokes, ...place);
    if (this.stroke) this.#drawStroke();
    if (!layers.after || this.tool !== "look") return;
    context.fillStyle = "#fff";
    context.strokeStyle = "#0009";
    context.fillRect(x - 1.5, 0, 3, height);
    context.strokeRect(x - 1.5, -1, 3, height + 2);
    context.beginPath();
    context.arc(x, height / 2, 13, 0, 7);
    context.fill();
    context.stroke();
    context.fillStyle = "#333";
    for (const side of [-1, 1]) {
      context.beginPath();
      context.moveTo(x + side * 9, height / 2);
      context.lineTo(x + side * 3, height / 2 - 5);
      context.lineTo(x + side * 3, height / 2 + 5);
      context.fill();
    }
  }

  #drawStroke() {
    const { context, stroke } = this;
    context.beginPath();
    for (const [x, y] of stroke.points) context.lineTo(this.left + x * this.scale, this.top + y * this.scale);
    if (stroke.points.length === 1) context.lineTo(this.left + stroke.points[0][0] * this.scale + 0.1, this.top + stroke.points[0][1] * this.scale);
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = stroke.size * this.scale;
    context.strokeStyle = stroke.color;
    context.stroke();
    context.lineWidth = 1;
  }

  #splitAt() {
    if (this.tool !== "look") return -GRIP; // the result alone
    return this.left + this.split * this.scale * this.photo.width;
  }

  #resize() {
    this.canvas.width = Math.round(this.canvas.clientWidth * devicePixelRatio);
    this.canvas.height = Math.round(this.canvas.clientHeight * devicePixelRatio);
    if (this.fitted) this.fit();
    else this.#draw();
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    return { x, y, photo: { x: (x - this.left) / this.scale, y: (y - this.top) / this.scale } };
  }

  #wheel(event) {
    if (!this.photo) return;
    event.preventDefault();
    const { x, y } = this.#at(event);
    this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), x, y);
  }

  #down(event) {
    if (!this.photo || event.button > 1) return;
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.#at(event);
    this.pointers.set(event.pointerId, at);
    if (this.pointers.size > 1) { // a pinch
      if (this.action === "stroke") this.onStroke(null, "cancel");
      this.action = "move";
    } else if (event.button === 1 || (this.tool === "look" && !(this.layers.after && Math.abs(at.x - this.#splitAt()) < GRIP))) {
      this.action = "move";
    } else {
      this.action = this.tool === "look" ? "split" : "stroke";
      if (this.action === "stroke") this.onStroke(at.photo, "start");
    }
  }

  #move(event) {
    if (!this.photo) return;
    const at = this.#at(event), before = this.pointers.get(event.pointerId);
    const { x, y } = at.photo, inside = x >= 0 && y >= 0 && x < this.photo.width && y < this.photo.height;
    this.onHover(inside ? at.photo : null, at.x < this.#splitAt() ? "left" : "right", at);
    const grip = this.tool === "look" && this.layers.after && Math.abs(at.x - this.#splitAt()) < GRIP;
    this.canvas.style.cursor = this.tool !== "look" ? "crosshair" : grip ? "ew-resize" : before ? "grabbing" : "grab";
    if (!before) return;
    if (this.action === "split") {
      this.split = Math.min(1, Math.max(0, x / this.photo.width));
      this.onSplit(this.split);
      this.draw();
    } else if (this.action === "stroke") {
      for (const each of event.getCoalescedEvents?.() ?? [event]) this.onStroke(this.#at(each).photo, "move");
    } else if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const distance = place => Math.hypot(place.x - other.x, place.y - other.y);
      this.zoom(distance(at) / Math.max(1, distance(before)), (at.x + other.x) / 2, (at.y + other.y) / 2);
      this.pan((at.x - before.x) / 2, (at.y - before.y) / 2);
    } else {
      this.pan(at.x - before.x, at.y - before.y);
    }
    this.pointers.set(event.pointerId, at);
  }

  #up(event) {
    if (!this.pointers.delete(event.pointerId) || this.pointers.size) return;
    if (this.action === "stroke") this.onStroke(null, event.type === "pointerup" ? "end" : "cancel");
    this.action = null;
  }

  #key(event) {
    const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    if (!this.photo || event.ctrlKey || event.metaKey) return;
    if (moves[event.key]) this.pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.fit();
    else return;
    event.preventDefault();
  }
}
