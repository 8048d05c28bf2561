// The HTTP interface, as the page uses it.

export class ServerError extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function checked(response) {
  if (response.ok) return response.status === 204 ? null : response.json();
  const body = await response.json().catch(() => ({}));
  throw new ServerError(response.status, body.error ?? `The server answered with status ${response.status}.`);
}

export async function health() {
  return checked(await fetch("api/health"));
}

// Send a photo, and a mask or probabilities if there are any; fetch() does not report how much was sent.
export function openSession(photo, mask, { signal, onProgress }) {
  const form = new FormData();
  form.append("image", photo.file, photo.name);
  if (mask) form.append(mask.name.toLowerCase().endsWith(".npy") ? "probabilities" : "mask", mask, mask.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.responseType = "json";
    request.upload.onprogress = event => event.lengthComputable && onProgress(event.loaded / event.total);
    request.upload.onload = () => onProgress(1);
    request.onload = () => {
      if (request.status === 200) return resolve(request.response);
      reject(new ServerError(request.status, request.response?.error ?? `The server answered with status ${request.status}.`));
    };
    request.onerror = () => reject(new ServerError(0, "The server cannot be reached. Is it still running?"));
    request.onabort = () => reject(new DOMException("canceled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.open("POST", "api/sessions");
    request.send(form);
  });
}

export async function runCrf(id, parameters, signal) {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify(parameters);
  return checked(await fetch(`api/sessions/${id}/crf`, { method: "POST", headers, body, signal }));
}

export async function keepSession(id) {
  return checked(await fetch(`api/sessions/${id}`));
}

export function closeSession(id) {
  navigator.sendBeacon(`api/sessions/${id}/close`);
}
