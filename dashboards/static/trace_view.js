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

// What the viewer's own reader dropped or repaired: its table of problems, by how bad they are.
const PROBLEMS = `select name, severity, ifnull(description, '') as about, sum(value) as count from stats
  where severity in ('error', 'data_loss') and value > 0 group by name, severity, about order by count desc`;

async function readTrace() {
  for (let waited = 0; waited < 2000; waited++) {
    const trace = frame.contentWindow.app?.trace;
    if (trace?.engine) return trace;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("the viewer did not read the trace");
}

async function problems() {
  const { engine } = await readTrace();
  const found = await engine.query(PROBLEMS);
  const rows = [];
  for (const row = found.iter({ name: "str", severity: "str", about: "str", count: 0 }); row.valid(); row.next()) {
    rows.push({ name: row.name, severity: row.severity, about: row.about, count: row.count });
  }
  return rows;
}

async function showProblems() {
  const flags = document.getElementById("flags");
  const said = flags.querySelector("summary");
  try {
    const rows = await problems();
    flags.className = rows.length ? "some" : "none";
    const all = rows.reduce((sum, row) => sum + row.count, 0);
    const kinds = rows.length === 1 ? rows[0].name : `${rows.length} kinds of problems`;
    said.textContent = rows.length ? `Perfetto flags ${all.toLocaleString("en")} × ${kinds} in this trace` : "Perfetto flags nothing in this trace.";
    for (const row of rows) {
      const item = document.createElement("li");
      const kind = row.severity === "data_loss" ? "lost" : "error";
      item.textContent = `${row.count.toLocaleString("en")} × ${row.name} (${kind})${row.about ? `: ${row.about}` : ""}`;
      flags.querySelector("ul").append(item);
    }
  } catch (error) {
    said.textContent = `What Perfetto flags could not be read: ${error.message}`;
  }
}

async function show() {
  frame.src = viewerAddress();
  const [buffer] = await Promise.all([trace(), whenReady()]);
  const title = query.get("title") || query.get("run") || "trace";
  frame.contentWindow.postMessage({ perfetto: { buffer, title, localOnly: true } }, location.origin, [buffer]);
  note.className = "done";
  await showProblems();
}

show().catch((error) => fail(error.message));
