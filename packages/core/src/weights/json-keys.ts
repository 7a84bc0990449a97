// Duplicate keys in JSON objects, which JSON.parse does not report.

/** The first duplicate key of an object in a JSON text; undefined if there is none. The text must be valid JSON. */
export function duplicateKey(json: string): string | undefined {
  const keysOfOpenObjects: Set<string>[] = [];
  for (let at = 0; at < json.length; at++) {
    const c = json[at];
    if (c === '{') keysOfOpenObjects.push(new Set());
    else if (c === '}') keysOfOpenObjects.pop();
    else if (c === '"') {
      const end = endOfString(json, at);
      if (isKey(json, end)) {
        const key: string = JSON.parse(json.slice(at, end));
        const keys = keysOfOpenObjects.at(-1)!;
        if (keys.has(key)) return key;
        keys.add(key);
      }
      at = end - 1;
    }
  }
  return undefined;
}

/** The end of the string that begins at `start`. A quote after an odd number of backslashes is part of it. */
function endOfString(json: string, start: number): number {
  for (let quote = start; ; ) {
    quote = json.indexOf('"', quote + 1);
    let first = quote;
    while (json[first - 1] === '\\') first--;
    if ((quote - first) % 2 === 0) return quote + 1;
  }
}

function isKey(json: string, end: number): boolean {
  let at = end;
  while (json[at] === ' ' || json[at] === '\n' || json[at] === '\r' || json[at] === '\t') at++;
  return json[at] === ':';
}
