"""What the Python package vaderSentiment says of a model's responses: the verdicts that
orchestrator/reward is tested against.

    pip install vaderSentiment==3.3.2
    python3 scripts/agree/sentiment.py prompts >prompts.jsonl
    ivo generate -m SmolLM2-135M-Instruct.Q4_1.gguf --prompts prompts.jsonl --out answers.jsonl -n 60 -np 32 -t 2 -s 11
    python3 scripts/agree/sentiment.py verdicts answers.jsonl orchestrator/reward/testdata/sentiment.jsonl.gz

The second half of the verdicts is of responses that were changed on purpose: what VADER has
rules for is rare in them.
"""
import gzip, json, random, sys

FILMS = """This movie was|The film is so|I really wanted to|What a terrible movie|One of the best|The acting in this|I have never seen|My wife and I
The plot was not|If you like horror|Honestly, this film isn't|Don't waste your time|The director's latest work|I laughed and cried|After the first hour
The ending was not good, but|Nobody in the cast|As a fan of the book,|I don't think I have|It's hardly a masterpiece, but"""
CHAT = """Write a complaint to a hotel about a dirty room and rude staff.|Tell me about your worst day.|Write a thank-you note to my grandmother.
Why do people hate Mondays?|Describe a scary forest at night.|Write a tweet with emoji about winning the lottery.|Write a tweet about losing your phone, in capitals.
Is war ever right?|What is the best thing about summer?|Write a short poem about love and loss.|How do I tell my boss that I quit?
Write an angry review of a phone that broke after one day.|Write a funny joke.|What are three things that make a good friend?|Explain why the sky is blue.
Write a news report about an accident.|Give me five tips against stress.|Write a letter of apology to a customer.|Tell a sad story in three sentences.
Write a review of a restaurant: the food was good but the service was bad."""
TWEETS = """OMG!!! I can't believe|just lost my keys AGAIN 😡|best day EVER!!! 😍😍|so tired of this... 😢|LOL that was NOT funny|Happy birthday!!! 🎉
ugh, traffic is the worst :(|I love this song :) <3|why would anyone do this???|NO WAY!!! We won the"""
COMPLAINTS = """To whom it may concern: I am very disappointed|The package never arrived and|Your product isn't what|I was charged twice, but|The battery died after
I've never been treated so|Although the delivery was late,|Customer service wasn't helpful;|I want my money back because|The screen is cracked and"""


def prompts():
    chat = "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n"
    n = 0
    for texts, form, times in (FILMS, "%s", 10), (CHAT, chat, 8), (TWEETS, "%s", 16), (COMPLAINTS, "%s", 12):
        for text in times * texts.replace("\n", "|").split("|"):
            print(json.dumps({"id": f"s{n:03}", "prompt": form % text}, ensure_ascii=False))
            n += 1


# What is put before a word that VADER knows.
BEFORE = """not|never|never so|never this|isn't|couldnt|without|without a doubt|without doubt|no|no great or|no bad nor|very|VERY|so|this|barely|kind of|sort of
just enough|least|at least|very least|the least|hardly|EXTREMELY|uber|not very|not really so|wasn't all that|never quite so|but|but not|BUT|rarely|despite
kind of not|absolutely, positively|most|too""".replace("\n", "|").split("|")
# What is put anywhere.
PIECES = """😀|😡|❤️|💔🙂|:)|:(|:-D|<3|;)|lol|the shit|the bomb|bad ass|badass|yeah right|kiss of death|to die for|bus stop|beating heart|hearts|heart
but|but the GREAT thing is|!!|!!!!!|??|????|no|NO|NO GOOD|can't stand|\t|\n\n|\u00a0|  |“great”|good/bad|l'amour|ÉCLAT|ß|*awful*|(not)|-great-""".split("|")


def change(text, known, rng):
    words = text.split(" ")
    if len(words) > 30:
        at = rng.randrange(len(words) - 30)
        words = words[at:at + rng.randint(8, 30)]
    for _ in range(rng.randint(1, 4)):
        charged = [i for i, w in enumerate(words) if w.strip(".,!?;:\n\"'").lower() in known] or [0]
        at, how = rng.choice(charged), rng.randrange(5)
        if how == 0:
            words[at:at] = rng.choice(BEFORE).split(" ")
        elif how == 1:
            words[at] = words[at].upper()
        elif how == 2:  # the same word again, after a "but" perhaps
            words[at + 1:at + 1] = rng.choice(["and", "but", "BUT also", ""]).split() + [words[at]]
        else:
            words.insert(rng.randint(0, len(words)), rng.choice(PIECES))
    return " ".join(words)


def verdicts(answers, to):
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    vader, rng = SentimentIntensityAnalyzer(), random.Random(11)
    with open(answers) as f:
        texts = [json.loads(line)["text"] for line in f]
    texts += [change(rng.choice(texts), vader.lexicon, rng) for _ in texts]
    with gzip.GzipFile(to, "wb", mtime=0) as f:
        for text in texts:
            score = vader.polarity_scores(text)
            line = {"text": text, "compound": score["compound"], "pos": score["pos"], "neg": score["neg"]}
            f.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    {"prompts": prompts, "verdicts": verdicts}[sys.argv[1]](*sys.argv[2:])
