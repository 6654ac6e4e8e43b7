"""What the Python package lm-eval says of a model's responses, whether each meets instructions
of IFEval's 25 kinds: the verdicts that orchestrator/reward/check is tested against.

    python3 scripts/agree/checks_prompts.py >prompts.jsonl
    ivo generate -m SmolLM2-135M-Instruct.Q4_1.gguf --chat --prompts prompts.jsonl --out answers.jsonl -n 200 --temp 0.8 -np 32 -t 2
    pip install nltk==3.10.4 langdetect==1.0.9 immutabledict packaging
    pip download --no-deps lm-eval==0.4.13 llama-index-core==0.14.25      (and unzip both to a folder LM)
    python3 scripts/agree/checks.py --lm-eval LM --nltk-data LM/llama_index/core/_static/nltk_cache \\
        prompts.jsonl answers.jsonl | zstd -19 >orchestrator/reward/check/testdata/ifeval.jsonl.zst

Of lm-eval the files alone are needed; llama-index-core is there for NLTK's data "punkt_tab", which its
wheel holds. Each line is a response with checks [kind, arguments, strict, loose], 1 where met. The
responses are the model's own, then variants of them made to meet (or just miss) a kind each, then
cases written by hand. langdetect draws by chance: a verdict that seven draws do not agree on is 0.5.
"""
import argparse
import json
import os
import random
import re
import sys
import types

from checks_prompts import KINDS

args = argparse.ArgumentParser()
args.add_argument("--lm-eval", required=True)
args.add_argument("--nltk-data", required=True)
args.add_argument("prompts")
args.add_argument("answers")
args = args.parse_args()

os.environ["NLTK_DATA"] = args.nltk_data
for name in ("lm_eval", "lm_eval.tasks", "lm_eval.tasks.ifeval"):  # without what else they import
    module = types.ModuleType(name)
    module.__path__ = [os.path.join(args.lm_eval, *name.split("."))]
    sys.modules[name] = module

import langdetect
from lm_eval.tasks.ifeval import instructions_util, utils

DRAWS = {"language:response_language", "change_case:english_capital", "change_case:english_lowercase"}


def verdict(test, kind, kwargs, response):
    inp = utils.InputExample(key=0, instruction_id_list=[kind], prompt="", kwargs=[kwargs])
    found = set()
    for seed in range(7 if kind in DRAWS else 1):
        langdetect.DetectorFactory.seed = seed
        found.add(test(inp, response).follow_instruction_list[0])
    return 0.5 if len(found) == 2 else int(found.pop())


def near(r, n):
    """A threshold at the edge of n."""
    return max(1, n + r.choice([-1, 0, 0, 1, 1, 2]))


def arguments(r, kind, text):
    """Arguments of a kind that a text meets about as often as not."""
    words = re.findall(r"\w+", text) or ["none"]
    relation = r.choice(["at least", "less than"])
    match kind.split(":")[1]:
        case "existence":
            return {"keywords": r.sample(words, min(2, len(words))) + r.choice([[], ["house"]])}
        case "forbidden_words":
            return {"forbidden_words": [r.choice(words)[: r.choice([3, 99, 99])], r.choice(["house", "purple"])]}
        case "frequency":
            w = r.choice(words)[: r.choice([2, 99])]
            return {"keyword": w, "frequency": near(r, len(re.findall(w, text, re.I))), "relation": relation}
        case "letter_frequency":
            c = r.choice("etaoinszq")
            return {"letter": c, "let_frequency": near(r, text.lower().count(c)), "let_relation": relation}
        case "response_language":
            return {"language": r.choice(["en", "en", "en", "de", "fr", "es", "it", "fi", "pt"])}
        case "number_sentences":
            return {"num_sentences": near(r, instructions_util.count_sentences(text)), "relation": relation}
        case "number_words":
            return {"num_words": near(r, len(words)), "relation": relation}
        case "number_paragraphs":
            return {"num_paragraphs": near(r, text.count("***"))}
        case "nth_paragraph_first_word":
            texts = re.split("\n\n", text)
            nth = r.randrange(len(texts))
            first = (texts[nth].split() or ["none"])[0].strip(".,?!'\"")
            return {"num_paragraphs": max(nth + 1, len(texts) - r.choice([0, 0, 1])), "nth_paragraph": nth + 1, "first_word": first or "none"}
        case "number_placeholders":
            return {"num_placeholders": near(r, text.count("]"))}
        case "postscript":
            return {"postscript_marker": r.choice(["P.S.", "P.P.S", "PS:"])}
        case "number_bullet_lists":
            return {"num_bullets": near(r, len(re.findall(r"(?m)^\s*[-*]", text)))}
        case "number_highlighted_sections":
            return {"num_highlights": near(r, text.count("*") // 2)}
        case "multiple_sections":
            there = [w for w in ["Section", "SECTION", "PART", "Day"] if w in text] * 3
            return {"section_spliter": (w := r.choice(there + ["Section", "Step"])), "num_sections": near(r, text.count(w))}
        case "repeat_prompt":
            return {"prompt_to_repeat": text[: r.randint(5, 60)].strip() + r.choice(["", "", "x"])}
        case "end_checker":
            return {"end_phrase": text.strip()[-r.randint(3, 30) :].strip(' "') or "end"}
        case "capital_word_frequency":
            n = sum(w.isupper() for w in instructions_util.nltk.word_tokenize(text))
            return {"capital_frequency": near(r, n), "capital_relation": relation}
    return {}


def variant(r, kind, text):
    """The text, changed to meet a kind, or nearly."""
    lines, words = text.split("\n"), text.split()
    pick = lambda n: r.sample(range(len(words)), min(n, len(words)))
    match kind.split(":")[1]:
        case "number_sentences":
            for i in pick(8):
                words[i] += r.choice([".", "!", "?", "...", '."', ".)", " Mr.", " e.g.", " U.S.", " 3.5", " no.", "?!", " p.m.", "; ", " 1."])
            return " ".join(words)
        case "number_paragraphs":
            for i in pick(r.randint(0, 4)):
                words[i] += r.choice(["\n***\n", "***", "\n\n***\n\n", " *** *** ", "****"])
            return r.choice(["", "***\n"]) + " ".join(words) + r.choice(["", "\n***"])
        case "nth_paragraph_first_word":
            for i in pick(r.randint(0, 4)):
                words[i] += r.choice(["\n\n", "\n\n\n", "\n\n\n\n", "\n\n'", '\n\n"', "\n\n "])
            return " ".join(words)
        case "number_placeholders":
            for i in pick(5):
                words[i] = r.choice(["[%s]", "[%s", "%s]", "[[%s]]", "[]", "[%s\n]", "(%s)"]).replace("%s", words[i])
            return " ".join(words)
        case "postscript":
            return text + r.choice(["\n", "\n\n", " ", "x"]) + r.choice(["P.S. ", "p.s. ", "P. S. ", "P.P.S", "P.P.S. ", "P. P. S. ", "PS: ", "P.S ", "p.p.s "]) + "One thing more."
        case "number_bullet_lists":
            return "\n".join(r.choice(["* ", "- ", "*", "  * ", "-", "+ ", "**", "\n* ", "--", "1. ", "*\n"]) + l for l in lines)
        case "constrained_response":
            answer = r.choice(["My answer is yes.", "My answer is no.", "My answer is maybe.", "my answer is yes.", "My answer is no"])
            return r.choice([answer, text[:40] + " " + answer, answer + "\n" + text[:80], "*" + answer + "*", "My *answer* is yes."])
        case "number_highlighted_sections":
            for i in pick(5):
                words[i] = r.choice(["*%s*", "**%s**", "***%s***", "*%s", "**%s*", "* %s *", "**", "****", "*%s\n*"]).replace("%s", words[i])
            return " ".join(words)
        case "multiple_sections":
            w = r.choice(["Section", "SECTION", "PART", "Day"])
            for n, i in enumerate(pick(5)):
                words[i] += r.choice([f"\n\n{w} {n+1}\n", f" {w}{n+1}", f"\n{w}  {n+1}", f"\n{w} {n+1}{n+1}: ", f"\n{w.lower()} {n+1} "])
            return " ".join(words)
        case "json_format":
            body = r.choice([json.dumps({"answer": text}), json.dumps(lines, indent=1), json.dumps(text), '{"a": "%s"}' % text, "{'a': 1}", "[1, 2,]", "12.5", "true", '{"a": 1}{"b": 2}', '{"n": 01}', '{"s": "a\tb"}', "[]"])
            return r.choice(["%s", "```json\n%s\n```", "```\n%s\n```", "```JSON%s```", "Here it is:\n%s", "%s\nThat is all.", "```json\n%s", " %s ", "```python\n%s\n```", "Sure:\n```json\n%s\n```"]).replace("%s", body)
        case "title":
            return r.choice(["<<%s>>", "<<>>", "<< >>", "<%s>", "<<%s", "<<<%s>>>", "<<*%s*>>", "<<\n%s>>", "*<<%s>>*"]).replace("%s", " ".join(words[:3])) + "\n" + text
        case "two_responses":
            a, b = text[: len(text) // 2], text[len(text) // 2 :]
            return r.choice(["%a******%b", "%a\n******\n%b", "******\n%a\n******\n%b\n******", "%a******%a", "%a ****** %a", "%a******", "%a*****%b", "%a*******%b", "%a************%b", "%a******%b******%a", "Here:\n%a\n******\n%a\n******\n%b"]).replace("%a", a).replace("%b", b)
        case "end_checker":
            return text + r.choice(["", "\n", '"', ' "', ".", "**", "\nThe end", '"\n', "*The End*"])
        case "capital_word_frequency":
            for i in pick(9):
                words[i] = r.choice([words[i].upper()] * 4 + ["DON'T", "I'M", "CANNOT", "A/B", "U.S.", "HE'S", "WELL-KNOWN", "A-b", "3D", "5", "GONNA", "X:Y", "10:30PM", "(OK)", "'TIS", "“YES”", "DON’T", "ROCK'N'ROLL", "A--B", "NO...YES", "I'll", "WE'LL", "O'NEIL", "A,B", "E=MC2", "#TAG", "A&B", "WHAT?!NO", "ÉTÉ", "É", "*BOLD*", "DOGS'", "'A'", "5'S", "MORE'N", "WANNA", "LEMME", "n't"])
            return " ".join(words)
        case "english_capital":
            return r.choice([text.upper()] * 4 + [text.upper() + "a", text.upper()[:30], text.title(), "Sure:\n" + text.upper(), "*" + text.upper() + "*"])
        case "english_lowercase":
            return r.choice([text.lower(), text.lower(), text.lower() + "A", text.lower()[:30], "Sure:\n" + text.lower(), "*" + text.lower() + "*"])
        case "no_comma":
            text = text.replace(",", "")
            return r.choice([text, text, "Sure, here it is:\n" + text, text + ",", text.replace(" ", "，", 1), text.replace(" ", "、", 1)])
        case "quotation":
            return r.choice(['"%s"', '"%s', '%s"', ' "%s"\n', "'%s'", "“%s”", '*"%s"*', 'Sure:\n"%s"', '"%s"\nThere.', '"', '""']).replace("%s", text)
        case "repeat_prompt":
            return r.choice(["", " ", "\n", "*", '"', "Sure:\n"]) + r.choice([text, text.upper(), text.lower()])
        case "letter_frequency":
            return r.choice([text.upper(), text + "zzqqZQ", text[:50]])
        case "existence" | "frequency" | "forbidden_words":
            for i in pick(4):
                words[i] = r.choice(["House", "houses", "house.", "*house*", "PURPLE", "purple-ish", "un_house", "house's", "Purplehouse"])
            return " ".join(words)
        case "number_words":
            for i in pick(6):
                words[i] = r.choice(["it's", "well-known", "a_b", "3.5", "café", "—", "e.g.", "$5", "naïve", "<<a>>", "x²", "½", "नमस्ते", "日本語"])
            return " ".join(words)
        case "response_language":
            return r.choice([" ".join(words[: r.randint(3, 30)]), text.upper(), text + "\n" + r.choice(OTHERS)[1]])
    return text


# Two lines for each language that IFEval asks for, and lines that are no language.
OTHERS = [
    ("en", "Every morning my grandmother opens the window, feeds the birds and waits for the postman."),
    ("en", "The train was late again, so we walked home along the canal and talked about the summer."),
    ("es", "Todas las mañanas mi abuela abre la ventana, da de comer a los pájaros y espera al cartero."),
    ("es", "El tren llegó tarde otra vez, así que volvimos a casa caminando junto al canal."),
    ("pt", "Todas as manhãs a minha avó abre a janela, dá comida aos pássaros e espera pelo carteiro."),
    ("pt", "O comboio atrasou-se outra vez, por isso voltámos para casa a pé e falámos do verão."),
    ("fr", "Chaque matin, ma grand-mère ouvre la fenêtre, nourrit les oiseaux et attend le facteur."),
    ("fr", "Le train était encore en retard, alors nous sommes rentrés à pied le long du canal."),
    ("de", "Jeden Morgen öffnet meine Großmutter das Fenster, füttert die Vögel und wartet auf den Briefträger."),
    ("de", "Der Zug kam wieder zu spät, also gingen wir am Kanal entlang nach Hause und sprachen über den Sommer."),
    ("it", "Ogni mattina mia nonna apre la finestra, dà da mangiare agli uccelli e aspetta il postino."),
    ("it", "Il treno era di nuovo in ritardo, così siamo tornati a casa a piedi lungo il canale."),
    ("ru", "Каждое утро моя бабушка открывает окно, кормит птиц и ждёт почтальона."),
    ("ru", "Поезд снова опоздал, и мы пошли домой пешком вдоль канала, разговаривая о лете."),
    ("uk", "Щоранку моя бабуся відчиняє вікно, годує птахів і чекає на листоношу."),
    ("uk", "Потяг знову запізнився, тож ми пішли додому пішки вздовж каналу й говорили про літо."),
    ("bg", "Всяка сутрин баба ми отваря прозореца, храни птиците и чака пощальона."),
    ("bg", "Влакът пак закъсня, затова се прибрахме пеша покрай канала и говорихме за лятото."),
    ("pl", "Każdego ranka moja babcia otwiera okno, karmi ptaki i czeka na listonosza."),
    ("pl", "Pociąg znowu się spóźnił, więc wróciliśmy do domu pieszo wzdłuż kanału."),
    ("fi", "Joka aamu isoäitini avaa ikkunan, ruokkii linnut ja odottaa postinkantajaa."),
    ("fi", "Juna oli taas myöhässä, joten kävelimme kotiin kanavan vartta ja puhuimme kesästä."),
    ("vi", "Mỗi buổi sáng bà tôi mở cửa sổ, cho chim ăn và chờ người đưa thư."),
    ("vi", "Chuyến tàu lại đến muộn nên chúng tôi đi bộ về nhà dọc theo con kênh."),
    ("sw", "Kila asubuhi bibi yangu hufungua dirisha, huwalisha ndege na kumsubiri mtu wa posta."),
    ("sw", "Treni ilichelewa tena, kwa hiyo tulitembea kwenda nyumbani kando ya mto na kuzungumza kuhusu likizo."),
    ("ar", "كل صباح تفتح جدتي النافذة وتطعم الطيور وتنتظر ساعي البريد."),
    ("ar", "تأخر القطار مرة أخرى، فمشينا إلى البيت على طول القناة وتحدثنا عن الصيف."),
    ("fa", "هر روز صبح مادربزرگم پنجره را باز می‌کند، به پرنده‌ها غذا می‌دهد و منتظر پستچی می‌ماند."),
    ("fa", "قطار دوباره دیر کرد، پس پیاده به خانه برگشتیم و درباره تابستان حرف زدیم."),
    ("ur", "ہر صبح میری دادی کھڑکی کھولتی ہیں، پرندوں کو دانہ ڈالتی ہیں اور ڈاکیے کا انتظار کرتی ہیں۔"),
    ("ur", "ریل گاڑی پھر دیر سے آئی، اس لیے ہم نہر کے کنارے پیدل گھر گئے۔"),
    ("he", "בכל בוקר סבתא שלי פותחת את החלון, מאכילה את הציפורים ומחכה לדוור."),
    ("he", "הרכבת שוב איחרה, אז הלכנו הביתה ברגל לאורך התעלה ודיברנו על הקיץ."),
    ("hi", "हर सुबह मेरी दादी खिड़की खोलती हैं, चिड़ियों को दाना देती हैं और डाकिये का इंतज़ार करती हैं।"),
    ("hi", "रेलगाड़ी फिर देर से आई, इसलिए हम नहर के किनारे पैदल घर गए और गर्मियों की बात की।"),
    ("mr", "रोज सकाळी माझी आजी खिडकी उघडते, पक्ष्यांना दाणे घालते आणि पोस्टमनची वाट पाहते."),
    ("mr", "गाडी पुन्हा उशिरा आली, म्हणून आम्ही कालव्याच्या काठाने चालत घरी गेलो आणि उन्हाळ्याबद्दल बोललो."),
    ("ne", "हरेक बिहान मेरी हजुरआमाले झ्याल खोल्नुहुन्छ, चरालाई दाना दिनुहुन्छ र हुलाकीको बाटो हेर्नुहुन्छ।"),
    ("ne", "रेल फेरि ढिलो आयो, त्यसैले हामी नहरको किनारै किनार हिँडेर घर गयौँ र गर्मीको बारेमा कुरा गर्यौँ।"),
    ("bn", "প্রতিদিন সকালে আমার দাদি জানালা খোলেন, পাখিদের খাওয়ান আর ডাকপিয়নের জন্য অপেক্ষা করেন।"),
    ("bn", "ট্রেন আবার দেরি করল, তাই আমরা খালের পাশ দিয়ে হেঁটে বাড়ি ফিরলাম।"),
    ("gu", "દરરોજ સવારે મારી દાદી બારી ખોલે છે, પંખીઓને ચણ નાખે છે અને ટપાલીની રાહ જુએ છે."),
    ("pa", "ਹਰ ਸਵੇਰ ਮੇਰੀ ਦਾਦੀ ਖਿੜਕੀ ਖੋਲ੍ਹਦੀ ਹੈ, ਪੰਛੀਆਂ ਨੂੰ ਦਾਣਾ ਪਾਉਂਦੀ ਹੈ ਅਤੇ ਡਾਕੀਏ ਦੀ ਉਡੀਕ ਕਰਦੀ ਹੈ।"),
    ("ta", "ஒவ்வொரு காலையும் என் பாட்டி சன்னலைத் திறந்து பறவைகளுக்கு உணவளித்து தபால்காரருக்காகக் காத்திருப்பார்."),
    ("te", "ప్రతి ఉదయం మా అమ్మమ్మ కిటికీ తెరిచి, పక్షులకు గింజలు వేసి, పోస్ట్‌మన్ కోసం ఎదురుచూస్తుంది."),
    ("kn", "ಪ್ರತಿದಿನ ಬೆಳಿಗ್ಗೆ ನನ್ನ ಅಜ್ಜಿ ಕಿಟಕಿ ತೆರೆದು ಹಕ್ಕಿಗಳಿಗೆ ಕಾಳು ಹಾಕಿ ಅಂಚೆಯವನಿಗಾಗಿ ಕಾಯುತ್ತಾಳೆ."),
    ("ml", "എല്ലാ ദിവസവും രാവിലെ എന്റെ മുത്തശ്ശി ജനൽ തുറന്ന് പക്ഷികൾക്ക് തീറ്റ കൊടുത്ത് പോസ്റ്റ്മാനെ കാത്തിരിക്കും."),
    ("th", "ทุกเช้าคุณยายของฉันเปิดหน้าต่าง ให้อาหารนก และรอบุรุษไปรษณีย์"),
    ("ko", "할머니는 매일 아침 창문을 열고 새들에게 먹이를 주고 우체부를 기다리십니다."),
    ("ja", "祖母は毎朝窓を開け、鳥に餌をやり、郵便屋さんを待っています。"),
    ("en", "My answer is yes."),
    ("en", "12345 !!! ***"),
    ("en", "😀 😀"),
    ("en", "Ok"),
    ("de", "Ja, gerne!"),
    ("en", "Sure! Hier ist die Antwort: Jeden Morgen öffnet meine Großmutter das Fenster."),
]

# By hand: kind, arguments, responses.
CASES = [
    ("keywords:existence", {"keywords": ["green", "Small"]}, ["A green, small house", "GREENHOUSES ARE SMALLER", "green", "smal green", "gr*ee*n small", "Sure: green\nand small", "", "  \n"]),
    ("keywords:existence", {"keywords": ["c++"]}, ["I like C++ and C", "I like C"]),
    ("keywords:existence", {"keywords": ["U.S."]}, ["the U.S. is", "the UaSa is", "the US is"]),
    ("keywords:existence", {"keywords": ["naïve", "ÉTÉ"]}, ["un été naïve", "NAÏVE Été", "ete naive"]),
    ("keywords:frequency", {"keyword": "an", "frequency": 3, "relation": "at least"}, ["banana and", "An banana", "an an a", "ananan"]),
    ("keywords:frequency", {"keyword": "an", "frequency": 3.0, "relation": "less than"}, ["banana and", "An banana", "an an a", "ananan", "none"]),
    ("keywords:forbidden_words", {"forbidden_words": ["can", "not"]}, ["I cannot", "I can't", "CAN", "cans", "a_can", "can-do", "nothing", "is it not?", "canˈ", "écan"]),
    ("keywords:forbidden_words", {"forbidden_words": ["café"]}, ["the café is", "the cafés are", "CAFÉ", "cafe", "le café, là", "décafé"]),
    ("keywords:forbidden_words", {"forbidden_words": ["ice cream", "#tag"]}, ["Ice cream!", "ice creams", "ice  cream", "a #tag", "a#tag b", "a#tags"]),
    ("keywords:letter_frequency", {"letter": "Q", "let_frequency": 2, "let_relation": "at least"}, ["Quite quick", "Quite", "qq", "*Q*q"]),
    ("keywords:letter_frequency", {"letter": "s", "let_frequency": 1, "let_relation": "less than"}, ["Nothing", "Something", "STRONG", "Sure:\nno one"]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, ["One. Two.", "One", "Mr. Smith came. He sat.", "Mr. Smith came", "I met Dr. No. Then he left", "At 5 p.m. He left", "At 5 p.m. he left", "See Fig. 3. It is red", "Wait... What?", "Wait... what", "\"Go.\" He went", "\"Go!\" he said", "(One.) Two", "J. S. Bach wrote. It", "No! Yes", "1. Milk 2. Eggs", "1. Milk\n2. Eggs", "3.14 is pi. Yes", "e.g. this", "U.S. Army", "in the U.S. The army", "Hi.There", "Hi!There", "Hi.) There", "a. b", "One.\n\nTwo", "One\n\nTwo", "one. two", "... Two", "Yes .No", "!!", "Hello !! Wow", ". . . Then", "One—two. “Three.” Four", "etc. And", "vs. the", "No. 5 is", "Jan. 5 was", "St. Mary", "Ph.D. He", "a.m. We", "Inc. He said", "Ltd. the", "Hmm . . . what. Now"]),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "less than"}, ["One. Two. Three.", "One. Two.", "He said \"Hi.\" and left. Then", "He said 'Hi.' And left. Then", "“Hi.” “Ho.” “Ha.”", "What?! No!! Yes...", "Who?  Me?  You?", "A. B. C. D", "1) One. 2) Two. 3) Three.", "- One.\n- Two.\n- Three.", "**One.** **Two.** **Three.**", "*One.* Two. Three.", "One.[1] Two.[2] Three.", "One;Two. Three: four. Five", "She lives in Washington D.C. He does not. Really.", "i.e. one. Two"]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, ["a\n***\nb", "a***b", "***a***b***", "a\n***\n***\nb", "a\n***\n", "a *** b *** c", "a\n******\nb", "a\n****\nb", "a * * * b", "***\n***", "Sure\n***\na\n***\nb"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, ["one two three", "one two", "it's me", "well-known", "well-known man", "a_b c", "3.5 m", "1 2 3", "«a» b c", "한국어 단어 셋", "日本語 ok", "नमस्ते दुनिया", "हिन्दी शब्द तीन"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, ["one two three", "one two", "", "- -", "one\ntwo three"]),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"}, ["a\n\nthen b", "a\n\nThen, b", "a\n\n\"Then\" b", "a\n\n'Then' b", "a\n\n\nThen b", "a\n\n\n\nThen b", "a\n\n \n\nThen", "a\n\nThence", "a\nThen", "a\n\nthen-b", "\n\nthen\n\nb", "a\n\n\"'then", "a\n\n'\"then", "a\n\n(then)", "a\n\n*Then* b", "a\n\nb\n\nThen", "Sure\na\n\nThen b"]),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 3, "nth_paragraph": 1, "first_word": "i"}, ["I'm\n\nb\n\nc", "I\n\nb\n\nc", "I.\n\nb\n\nc\n\n", "i\n\nb"]),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[a] [b]", "[a [b]", "[[a]] [b", "[][]", "[a\n] [b]", "[a]", "(a) [b]", "\\[a\\] [b]"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["a\nP.S. b", "a P. S. b", "p.s.b", "P.S b", "P.\nS. b", "P.P.S. b", "PS", "a\n*P.S.* b", "P*.S.* b"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["a\nP.P.S b", "p. p. s", "P.P.\nS", "P.S.", "P.P S"]),
    ("detectable_content:postscript", {"postscript_marker": "PPS:"}, ["a\npps: b", "PPS b", "a pps:"]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, ["* a\n* b", "- a\n- b", "* a\n- b", "* a\n* b\n* c", "** a\n* b", "**a**\n* b\n* c", "*a*\n*b*", "  * a\n\t- b", "+ a\n+ b", "- a\n\n- b", "---\n- a", "*\n* b", "*\n\n* b", "a * b\n* c\n* d", "• a\n• b", "-\n-", "* a\n  continued\n* b", "* \n*", "1. a\n- b\n-c"]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 3}, ["* a\n\n* b\n* c", "*a\n*b\n*c", "- - -", "***\n* a\n* b\n* c", "Sure:\n- a\n- b\n- c\nThat - is all.", "-a\n--b\n---c"]),
    ("detectable_format:constrained_response", {}, ["My answer is yes.", "my answer is yes.", "My answer is no", "Well. My answer is maybe. Or", "My answer is yes!", "My **answer is yes.**", "My answer is\nyes.", "My answer is no.\n"]),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, ["*a* *b*", "**a**", "** a **", "**a** b", "* a\n* b", "*a\nb*", "**", "****", "* *", "*a**b*", "***a***", "*a*b*", "**a*", "*a* **", "** ** *a*"]),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, ["*a*", "**a**", "*a", "* *", "**", "****", "***", "* a *", "*\n*"]),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2}, ["SECTION 1\na\nSECTION 2\nb", "SECTION 1 SECTION 1", "Section 1\nSection 2", "SECTION1SECTION2", "SECTION  1 SECTION 2", "SECTION I SECTION II", "SECTION\n1\nSECTION\n2", "*SECTION* 1 *SECTION* 2", "SECTION 12", "SECTION ١ SECTION ٢"]),
    ("detectable_format:json_format", {}, ['{"a": 1}', '```json\n{"a": 1}\n```', "```\n[1]\n```", '```JSON\n"a"\n```', "a", "", "``` ```", "1", "-0", "01", "1.", ".5", "1e5", "NaN", "Infinity", "[NaN]", "-Infinity", "null", "None", "{a: 1}", "{'a': 1}", '{"a": 1,}', '["a" "b"]', '"a\nb"', '"\\u00e9\\ud83d"', '"\\x"', '{"a": 1} x', '```json\n{"a": 1}', '{"a": 1}\n```', '````json\n1\n````', '```json```json\n1```', '```javascript\n1```', 'Sure:\n{"a": 1}', '{"a": 1}\nDone', '{"a": "*"}', '{"a": 1, "a": 2}', "\ufeff1", "[1]\u00a0", "{}", "[]", "[ ]", "tru", '{"a":\u00a01}', '"\u007f"', '"\u0001"', '"\t"']),
    ("detectable_format:title", {}, ["<<a>>", "<< >>", "<<>>", "<<a>", "<<a\nb>>", "<<<>>>", "<<< a", "a << b >> c", "<<*>>", "<<a>> <<b>>", "<>>>", "<<<<>>>>"]),
    ("combination:two_responses", {}, ["a******b", "a\n******\nb", "a******a", "a****** a", "******a******b******", "a******", "a******b******c", "a************b", "a*******b", "a *****b", "a******\n******b", "******", "Sure\na\n******\nb\nDone"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say  hello. "}, ["Say  hello. Hello!", "SAY  HELLO.", "Say hello.", " Say  hello. x", "*Say*  hello.", "Sure:\nSay  hello.", "say  hello"]),
    ("startend:end_checker", {"end_phrase": " The end. "}, ["It is the end.", "THE END.", "the end", "the end.\"", "the end. \"", "the end. x", "the end.*", "the end.\nBye", "\"the end.\"\n", "the end.\"\"\"", "the  end."]),
    ("startend:end_checker", {"end_phrase": 'He said "yes"'}, ['He said "yes"', "He said yes", 'he said "yes"\n']),
    ("startend:quotation", {}, ['"a"', '"', '""', ' "a" ', '"a', "'a'", "“a”", '"a" b "c"', '*"a"*', '"a"\nb', 'b\n"a"', '" "']),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, ["A B", "A b", "I'M", "DON'T", "CANNOT", "I'm I", "A/B", "A-B", "A--B", "A,B", "A,5B", "A:B", "A.B", "U.S.A.", "A...B", "(A)B", "A;B", "A&B", "A+B", "A=B", "A_B", "A|B", "A\\B", "A~B", "A^B", "\"A\"B", "'A'", "'A 'B", "A'B", "A''B", "A`B", "A’B", "‘A’", "«A»B", "A–B", "A‑B", "A—B", "GONNA", "GOTTA", "WANNA", "LEMME", "GIMME", "D'YE", "MORE'N", "'TIS", "'TWAS", "IT'S", "WE'LL", "We'LL", "WE'll", "'S", "N'T", "XN'T", "A1 2", "1 2", "É Ñ", "ǅ A", "Ⓐ Ⓑ", "Å B", "A\u00a0B", "A\u200bB", "A\nB", "A*B", "A<B", "A!B", "A%B", "A@B", "A$B", "A#B", "A?B", "A]B", "A{B", "5'S A", "DOGS' A", "X.Y.", "X. Y", "A's", "A'S", "ROCK'N'ROLL", "O'NEIL", "-'A", "a'B C"]),
    ("change_case:capital_word_frequency", {"capital_frequency": 3, "capital_relation": "less than"}, ["A B C", "A B", "CANNOT CANNOT", "THE U.S. IS", "I AM I'M", "NO, NO.", "A.B.C", "A, B, C."]),
    ("change_case:english_capital", {}, ["THIS IS A HOUSE WITH A GREEN DOOR AND A SMALL GARDEN.", "This IS a house.", "DAS IST EIN HAUS MIT EINER GRÜNEN TÜR UND EINEM KLEINEN GARTEN.", "123", "1A", "SURE:\nthis", "A"]),
    ("change_case:english_lowercase", {}, ["this is a house with a green door and a small garden.", "this Is a house", "das ist ein haus mit einer grünen tür und einem kleinen garten.", "123", "1a", "Sure:\nthis is the house that has a green door"]),
    ("punctuation:no_comma", {}, ["a b", "a, b", "a， b", "a، b", "a; b", "Sure, yes:\na b", "1,000", "*,*"]),
]


def main():
    answers = {a["id"]: a["text"] for a in map(json.loads, open(args.answers))}
    r = random.Random(7)

    def put(id, response, asked):
        checks = [[k, a, verdict(utils.test_instruction_following_strict, k, a, response), verdict(utils.test_instruction_following_loose, k, a, response)] for k, a in asked]
        json.dump({"id": id, "response": response, "checks": checks}, sys.stdout, ensure_ascii=False, separators=(",", ":"))
        print()

    records = [json.loads(line) for line in open(args.prompts)]
    for record in records:
        text = answers[record["id"]]
        others = r.sample([k for k in KINDS if k not in record["instruction_id_list"]], 6)
        put(record["id"], text, list(zip(record["instruction_id_list"], record["kwargs"])) + [(k, arguments(r, k, text)) for k in others])
    for kind in KINDS:
        for i in range(40):
            text = answers[r.choice(records)["id"]]
            lines = text.split("\n")
            text = variant(r, kind, "\n".join(lines[: r.randint(1, 6)])[: r.choice([150, 400])])
            asked = [(kind, arguments(r, kind, text)), (kind, KINDS[kind](r, "Explain how rain forms.")[0])]
            put(f"variant {kind} {i}", text, asked if asked[0][1] else asked[:1])
    for i, (kind, kwargs, responses) in enumerate(CASES):
        for j, text in enumerate(responses):
            put(f"case {kind} {i} {j}", text, [(kind, kwargs)])
    for i, (code, text) in enumerate(OTHERS):
        put(f"language {code} {i}", text, [("language:response_language", {"language": c}) for c in sorted({code, "en", "de", "hi", "ru"})])


main()
