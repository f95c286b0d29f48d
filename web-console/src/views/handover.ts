// A statement as a command or a program for somewhere else. Whatever it holds, it stays one argument: a shell and Python read
// exactly the text that was written. No credential is put in; where one is needed stands where to give it.

const shell = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

export function asCurl(origin: string, text: string, native: boolean, needsUser: boolean): string {
  const path = native ? "/druid/v2" : "/druid/v2/sql";
  const body = native ? text : JSON.stringify({ query: text });
  return [
    `curl ${needsUser ? '-u "$HENGE_USER:$HENGE_PASSWORD" ' : ""}${shell(origin + path)} \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  --data-binary ${shell(body)}`,
  ].join("\n");
}

/** Any request; marks in its path stay as they are, for whoever fills them in. */
export function asCurlOf(origin: string, method: string, path: string, body: string | null, needsUser: boolean): string {
  const lines = [`curl ${needsUser ? '-u "$HENGE_USER:$HENGE_PASSWORD" ' : ""}${method === "GET" ? "" : `-X ${method} `}${shell(origin + path)}`];
  if (body !== null) lines.push("  -H 'Content-Type: application/json'", `  --data-binary ${shell(body)}`);
  return lines.join(" \\\n");
}

/** JSON's escapes of a text are Python's, as long as everything beyond ASCII is escaped. */
const python = (text: string): string => JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Pairs of surrogates are two escapes in JSON and one character in Python. */
const asPythonText = (text: string): string =>
  python(text).replace(/\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})/g, (_, high: string, low: string) => {
    const point = (parseInt(high, 16) - 0xd800) * 0x400 + (parseInt(low, 16) - 0xdc00) + 0x10000;
    return `\\U${point.toString(16).padStart(8, "0")}`;
  });

export function asPython(origin: string, text: string, native: boolean, needsUser: boolean): string {
  const auth = needsUser ? ', auth=(os.environ["HENGE_USER"], os.environ["HENGE_PASSWORD"])' : "";
  const lines = [needsUser ? "import os\n" : "", native ? "import json, requests\n" : "import pyarrow as pa, requests\n", "\n"];
  if (native) {
    lines.push(`query = json.loads(${asPythonText(text)})\n`, `answer = requests.post(${asPythonText(`${origin}/druid/v2`)}, json=query${auth})\n`, "answer.raise_for_status()\n", "print(answer.json())\n");
  } else {
    lines.push(
      `query = ${asPythonText(text)}\n`,
      `answer = requests.post(${asPythonText(`${origin}/druid/v2/sql`)}, json={"query": query, "resultFormat": "arrow"}${auth})\n`,
      "answer.raise_for_status()\n",
      "table = pa.ipc.open_stream(answer.content).read_all()\n",
      "print(table.to_pandas())\n",
    );
  }
  return lines.join("");
}
