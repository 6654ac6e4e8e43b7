"""Prompts with instructions that can be verified: 40 for each of IFEval's 25 kinds, as JSON lines
with the fields of its published file (prompt, instruction_id_list, kwargs). Every other prompt
carries a second instruction that goes with the first. See checks.py.

    python3 scripts/agree/checks_prompts.py >prompts.jsonl
"""
import json
import random
import sys

TASKS = """Explain how rain forms
Write an email to a neighbour about a noisy dog
Describe a walk along the river in autumn
Give advice to somebody who moves to a new city
Tell a short story about a lost key
Compare tea and coffee
Say what makes a good teacher
Write a product description for a wooden chair
Explain why the sky is blue
Write a letter of complaint to a hotel
Plan a weekend in the mountains
Summarize what a library is for
Describe your favourite meal
Write a speech for a wedding
Tell me whether I should learn the piano at forty
Explain how a bicycle stays upright
Write a job advertisement for a baker
Give three reasons to get up early
Describe the life of a bee
Write a poem about winter
Is it better to rent or to buy a house?
Explain gravity to a child
Write a review of a film that you did not like
Invite a friend to a birthday party
Describe how to repair a flat tyre
Write a dialogue between a cat and a mouse
Say how to prepare for a job interview
Explain what inflation is
Tell the history of bread
Write a note of thanks to a doctor
Describe a market on a Saturday morning
Should schools start later in the day?
Explain how vaccines work
Give tips for saving water at home
Write a short biography of an invented explorer
Describe the sound of the sea
Write the rules of a game for six children
Explain the difference between a virus and a bacterium
Tell a joke and explain it
Write a cover letter for a gardener""".split("\n")

WORDS = "water time people help day good work home light hand morning year small world never often because green".split()
ENDS = ["Is there more that you want to know?", "That is all for today.", "Thank you!", "Goodbye"]
LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese"}


def relation(r):
    return r.choice(["less than", "at least"])


def existence(r, task):
    words = r.sample(WORDS, 2)
    return {"keywords": words}, "Use the words " + " and ".join(words) + "."


def frequency(r, task):
    k = {"keyword": r.choice(WORDS), "frequency": r.randint(1, 4), "relation": relation(r)}
    return k, "The word {keyword} has to occur {relation} {frequency} times.".format(**k)


def forbidden(r, task):
    words = r.sample(WORDS, 2)
    return {"forbidden_words": words}, "Do not write the words " + " and ".join(words) + "."


def letter(r, task):
    k = {"letter": r.choice("aeqtzksw"), "let_frequency": r.randint(1, 30), "let_relation": relation(r)}
    return k, "Write the letter {letter} {let_relation} {let_frequency} times.".format(**k)


def language(r, task):
    code = r.choice(sorted(LANGUAGES))
    return {"language": code}, "Answer in " + LANGUAGES[code] + " and in no other language."


def sentences(r, task):
    k = {"num_sentences": r.randint(2, 10), "relation": relation(r)}
    return k, "Write {relation} {num_sentences} sentences.".format(**k)


def paragraphs(r, task):
    k = {"num_paragraphs": r.randint(1, 4)}
    return k, "Write {num_paragraphs} paragraphs and put a line of *** between them.".format(**k)


def words(r, task):
    k = {"num_words": r.randint(20, 160), "relation": relation(r)}
    return k, "Write {relation} {num_words} words.".format(**k)


def first_word(r, task):
    n = r.randint(1, 4)
    k = {"num_paragraphs": n, "nth_paragraph": r.randint(1, n), "first_word": r.choice(["the", "first", "Finally", "we"])}
    return k, "Write {num_paragraphs} paragraphs with an empty line between them. Begin paragraph {nth_paragraph} with the word {first_word}.".format(**k)


def placeholders(r, task):
    k = {"num_placeholders": r.randint(1, 4)}
    return k, "Leave at least {num_placeholders} things open, in square brackets such as [name].".format(**k)


def postscript(r, task):
    k = {"postscript_marker": r.choice(["P.S.", "P.P.S"])}
    return k, "Close with a postscript that begins with {postscript_marker}".format(**k)


def bullets(r, task):
    k = {"num_bullets": r.randint(1, 5)}
    return k, "Give exactly {num_bullets} bullet points, each on a line that begins with * as in Markdown.".format(**k)


def constrained(r, task):
    return {}, 'Answer with one of "My answer is yes.", "My answer is no." and "My answer is maybe."'


def highlights(r, task):
    k = {"num_highlights": r.randint(1, 4)}
    return k, "Mark at least {num_highlights} parts of your answer with asterisks, as in *a marked part*.".format(**k)


def sections(r, task):
    k = {"section_spliter": r.choice(["Section", "SECTION", "PART", "Day"]), "num_sections": r.randint(2, 4)}
    return k, "Divide your answer into {num_sections} sections with the headings {section_spliter} 1, {section_spliter} 2 and so on.".format(**k)


def as_json(r, task):
    return {}, "Give the whole answer as JSON, if you like in a Markdown code block."


def title(r, task):
    return {}, "Give your answer a title in double angle brackets, such as <<Spring>>."


def two(r, task):
    return {}, "Give two different answers with six asterisks ****** between them."


def repeat(r, task):
    return {"prompt_to_repeat": task}, "First say this request again, word for word, then answer it. What you repeat ends before this sentence."


def end(r, task):
    k = {"end_phrase": r.choice(ENDS)}
    return k, "Your last words are: {end_phrase}".format(**k)


def capital_words(r, task):
    k = {"capital_frequency": r.randint(1, 8), "capital_relation": relation(r)}
    return k, "Write {capital_relation} {capital_frequency} words in capital letters.".format(**k)


def upper(r, task):
    return {}, "Write English and nothing but CAPITAL LETTERS."


def lower(r, task):
    return {}, "Write English and use small letters only, no capitals."


def comma(r, task):
    return {}, "Do not use a single comma."


def quotation(r, task):
    return {}, "Put your whole answer between double quotation marks."


KINDS = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden,
    "keywords:letter_frequency": letter,
    "language:response_language": language,
    "length_constraints:number_sentences": sentences,
    "length_constraints:number_paragraphs": paragraphs,
    "length_constraints:number_words": words,
    "length_constraints:nth_paragraph_first_word": first_word,
    "detectable_content:number_placeholders": placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": bullets,
    "detectable_format:constrained_response": constrained,
    "detectable_format:number_highlighted_sections": highlights,
    "detectable_format:multiple_sections": sections,
    "detectable_format:json_format": as_json,
    "detectable_format:title": title,
    "combination:two_responses": two,
    "combination:repeat_prompt": repeat,
    "startend:end_checker": end,
    "change_case:capital_word_frequency": capital_words,
    "change_case:english_capital": upper,
    "change_case:english_lowercase": lower,
    "punctuation:no_comma": comma,
    "startend:quotation": quotation,
}

# What goes with everything.
SECOND = ["keywords:existence", "keywords:forbidden_words", "length_constraints:number_words", "punctuation:no_comma", "detectable_format:title"]


def main():
    r = random.Random(11)
    for n, kind in enumerate(KINDS):
        for i, task in enumerate(TASKS):
            ids = [kind]
            if i % 2 and kind not in SECOND:
                ids.append(r.choice(SECOND))
            kwargs, text = [], task if task.endswith("?") else task + "."
            for name in ids:
                k, sentence = KINDS[name](r, text)
                kwargs.append(k)
                text += " " + sentence
            record = {"id": f"{n:02}-{i:02}", "prompt": text, "instruction_id_list": ids, "kwargs": kwargs}
            json.dump(record, sys.stdout, ensure_ascii=False)
            print()


if __name__ == "__main__":
    main()
