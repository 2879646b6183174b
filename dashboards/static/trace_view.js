// Opens the Perfetto UI of this server, waits until it answers, and hands it one trace of this server.
"use strict";

const query = new URLSearchParams(location.search);
const note = document.getElementById("note");
const frame = document.getElementById("perfetto");
const SLOW_MS = 90000;

function viewerAddress() {
  // Without a page in the route the bundle would look for a server of its own.
  const route = new URLSearchParams({ mode: "embedded" });
  if (query.has("start") && query.has("end")) {
    route.set("visStart", query.get("start"));
    route.set("visEnd", query.get("end"));
    // Selects the slice that is exactly there, if there is one.
    route.set("ts", query.get("from"));
    route.set("dur", String(Number(query.get("to")) - Number(query.get("from"))));
  }
  const expand = [{ id: "dev.perfetto.ExpandTracksByRegex", args: [".*stream.*|.*GPU.*|.*python.*"] }];
  route.set("startupCommands", JSON.stringify(expand));
  return `/perfetto/index.html#!/viewer?${route}`;
}

function fail(text) {
  note.textContent = text;
  note.className = "error";
}

async function trace() {
  const wanted = new URLSearchParams();
  for (const name of ["run", "rank", "artifact"]) wanted.set(name, query.get(name) || "");
  const answer = await fetch(`/trace-file?${wanted}`);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.arrayBuffer();
}

function whenReady() {
  return new Promise((resolve, reject) => {
    const ping = setInterval(() => frame.contentWindow.postMessage("PING", location.origin), 50);
    const slow = setTimeout(() => {
      clearInterval(ping);
      reject(new Error("the trace viewer does not answer; reload the page"));
    }, SLOW_MS);
    window.addEventListener("message", (event) => {
      if (event.source !== frame.contentWindow || event.data !== "PONG") return;
      clearInterval(ping);
      clearTimeout(slow);
      resolve();
    });
  });
}

async function show() {
  frame.src = viewerAddress();
  const [buffer] = await Promise.all([trace(), whenReady()]);
  const title = query.get("title") || query.get("run") || "trace";
  frame.contentWindow.postMessage({ perfetto: { buffer, title, localOnly: true } }, location.origin, [buffer]);
  note.className = "done";
}

show().catch((error) => fail(error.message));
