// Browsers forbid workers on pages opened from a folder (file:). The search worker then runs in a hidden iframe.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inside = frame.contentWindow
      // Messages of the worker script go to the page.
      this.inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      const inner = frame.contentDocument
      inner.open()
      inner.write("<!doctype html><title>search</title>")
      inner.close()
      const script = inner.createElement("script")
      this.loaded = new Promise(resolve => script.addEventListener("load", resolve))
      script.src = url
      inner.head.append(script)
    }

    postMessage(data) {
      this.loaded.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
}
