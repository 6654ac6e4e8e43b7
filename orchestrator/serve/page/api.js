// What the page asks the server.

export const $ = (id) => document.getElementById(id);

function headers() {
  const h = { "Content-Type": "application/json" };
  if ($("key").value) h.Authorization = "Bearer " + $("key").value;
  return h;
}

async function ask(address, options) {
  const res = await fetch(address, { headers: headers(), ...options });
  if (res.ok) return res;
  const reply = await res.json().catch(() => null);
  throw Object.assign(new Error(reply?.error.message ?? `the server says ${res.status}`), { status: res.status });
}

export const read = async (address) => (await ask(address)).json();
export const readText = async (address) => (await ask(address)).text();
export const post = (address, body, signal) => ask(address, { method: "POST", body: JSON.stringify(body), signal });

// events reads a stream of server-sent events.
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    let at;
    while ((at = rest.indexOf("\n\n")) >= 0) {
      const data = rest.slice(0, at).split("\n").filter((l) => l.startsWith("data: ")).map((l) => l.slice(6)).join("\n");
      rest = rest.slice(at + 2);
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
  }
}
