// Label maps: run lengths, colors, files. A map is {width, height, data}, a byte for each pixel; 255 is unknown.

export const UNKNOWN = 255;

export function fromRuns({ size: [height, width], labels, counts }) {
  const data = new Uint8Array(width * height);
  let at = 0;
  for (let i = 0; i < labels.length; i++) data.fill(labels[i], at, at += counts[i]);
  return { width, height, data };
}

export function toRuns({ width, height, data }) {
  const labels = [], counts = [];
  let start = 0;
  for (let i = 1; i <= data.length; i++) {
    if (i === data.length || data[i] !== data[start]) {
      labels.push(data[start]);
      counts.push(i - start);
      start = i;
    }
  }
  return { size: [height, width], labels, counts };
}

export function shares({ data }) {
  const pixels = new Float64Array(256);
  for (const label of data) pixels[label]++;
  return pixels.map(count => count / data.length);
}

export function rgb(color) {
  return [1, 3, 5].map(at => parseInt(color.slice(at, at + 2), 16));
}

// Paint the shown classes, outlined in white, with transparency elsewhere.
export function paint({ width, height, data }, colors, shown, opacity, canvas = document.createElement("canvas")) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height), out = new Uint32Array(image.data.buffer);
  const alpha = Math.round(255 * opacity);
  const inner = colors.map(([r, g, b]) => (alpha << 24 | b << 16 | g << 8 | r) >>> 0);
  const border = opacity && opacity < 1 ? Math.max(1, Math.round(Math.max(width, height) / 700)) : 0;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const label = data[i];
      if (!shown.has(label)) continue;
      const edge = border && ((x >= border && data[i - border] !== label) || (x + border < width && data[i + border] !== label)
        || (y >= border && data[i - border * width] !== label) || (y + border < height && data[i + border * width] !== label));
      out[i] = edge ? 0xffffffff : inner[label];
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

export function toBlob(canvas, type, quality) {
  return new Promise((resolve, reject) =>
    canvas.toBlob(blob => blob ? resolve(blob) : reject(new Error("The browser could not encode the image.")), type, quality));
}

// An index PNG: a canvas would store colors.
export async function toPng({ width, height, data }, palette) {
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const deflated = new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate")));
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint16(8, 0x0803); // 8 bits, palette
  const colors = new Uint8Array(palette.flatMap(rgb));
  const text = new TextEncoder().encode("Software\0atrous");
  const chunks = [["IHDR", new Uint8Array(header.buffer)], ["PLTE", colors], ["tEXt", text],
    ["IDAT", new Uint8Array(await deflated.arrayBuffer())], ["IEND", new Uint8Array()]];
  return new Blob([new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]), ...chunks.map(([kind, body]) => chunk(kind, body))],
    { type: "image/png" });
}

function chunk(kind, body) {
  const bytes = new Uint8Array(body.length + 12), view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set(new TextEncoder().encode(kind), 4);
  bytes.set(body, 8);
  view.setUint32(body.length + 8, crc(bytes.subarray(4, body.length + 8)));
  return bytes;
}

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ byte >>> 1 : byte >>> 1;
  return byte;
});

function crc(bytes) {
  let value = ~0;
  for (const byte of bytes) value = CRC[(value ^ byte) & 255] ^ value >>> 8;
  return ~value >>> 0;
}

// A class' mask as COCO's uncompressed run lengths: down the columns, outside first.
export function maskRuns({ width, height, data }, label) {
  const counts = [];
  let inside = false, run = 0;
  for (let x = 0; x < width; x++) {
    for (let i = x; i < data.length; i += width) {
      if ((data[i] === label) !== inside) {
        counts.push(run);
        run = 0;
        inside = !inside;
      }
      run++;
    }
  }
  return { size: [height, width], counts: [...counts, run] };
}

// Draw a stroke, {label, size, points}, into a map.
export function drawStroke({ width, height, data }, { label, size, points }) {
  const radius = size / 2;
  points.forEach(([x1, y1], i) => {
    const [x0, y0] = points[Math.max(0, i - 1)];
    const steps = Math.max(1, Math.ceil(2 * Math.hypot(x1 - x0, y1 - y0) / radius));
    for (let step = 0; step <= steps; step++) {
      const x = x0 + (x1 - x0) * step / steps, y = y0 + (y1 - y0) * step / steps;
      for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(height - 1, y + radius); row++) {
        const half = Math.sqrt(radius ** 2 - (row - y) ** 2);
        const left = Math.max(0, Math.ceil(x - half)), right = Math.min(width - 1, Math.floor(x + half));
        if (left <= right) data.fill(label, row * width + left, row * width + right + 1);
      }
    }
  });
}
