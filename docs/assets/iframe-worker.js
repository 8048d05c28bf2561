// Browsers allow no workers where pages are read from a folder (file:). There the search's worker runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inside = frame.contentWindow
      // What the worker's script posts is meant for the page.
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
