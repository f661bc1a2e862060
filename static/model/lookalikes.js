/** Names of rooms that may be taken for others. The server does the same, more thoroughly, for nicknames. */

const CJK = ["Han", "Hiragana", "Katakana", "Hangul", "Bopomofo"];
const ALPHABETS = [
  "Latin", "Greek", "Cyrillic", "Armenian", "Georgian", "Hebrew", "Arabic", "Coptic", "Cherokee", "Lisu", "Deseret",
  "Osage", "Glagolitic", "Gothic", "Devanagari", "Thai", "Ethiopic", "Tifinagh", "Canadian_Aboriginal", "Vai",
].map((script) => new RegExp(`\\p{Script=${script}}`, "u"));
const ASIAN = new RegExp(`[${CJK.map((script) => `\\p{Script=${script}}`).join("")}]`, "u");
const [LATIN] = ALPHABETS;
const WORDS = /[^\p{L}\p{M}]+/u;

/** Letters of other alphabets, each with the Latin one that it looks like; lower case, as names of rooms are. */
const LOOKS_LIKE = new Map(
  ("аa αa ɑa ԁd еe ҽe ɡg ցg һh հh іi ιi ıi јj ϳj ӏl ոn оo οo σo օo рp ρp ԛq զq сc ϲc ѕs υu սu ѵv νv ԝw хx χx уy γy")
    .split(" ")
    .map(([letter, latin]) => [letter, latin]),
);

/** Return whether a word of a name has letters of several alphabets; Latin ones may stand beside Chinese ones. */
export function mixesAlphabets(name) {
  return name.split(WORDS).some((word) => {
    const found = ALPHABETS.filter((letter) => letter.test(word));
    return found.length > 1 || (found.length === 1 && found[0] !== LATIN && ASIAN.test(word));
  });
}

/** Return what a name looks like, for comparison. */
function looksOf(name) {
  return Array.from(name, (letter) => LOOKS_LIKE.get(letter) ?? letter).join("");
}

/** Return those of some names that look like another one of them. */
export function lookalikes(names) {
  const sharing = new Map();
  for (const name of new Set(names)) sharing.set(looksOf(name), [...(sharing.get(looksOf(name)) ?? []), name]);
  return new Set([...sharing.values()].filter((same) => same.length > 1).flat());
}
