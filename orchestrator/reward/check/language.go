package check

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/abadojack/whatlanggo"
)

// languages are those that a response can be told to be in, by their codes of ISO 639-1.
var languages = map[string]whatlanggo.Lang{}

// likely are the languages that IFEval asks for, and others that many people write: a text is
// in one of them or in the one that is asked for.
var likely = strings.Fields("ar bg bn cs da de el en es fa fi fr gu he hi hu id it ja kn ko ml mr nb ne nl pa pl pt ro ru sv ta te th tr uk ur vi zh")

const swahili = whatlanggo.Lang(-2) // whatlanggo does not know it

func init() {
	for l := range whatlanggo.Langs {
		if code := l.Iso6391(); code != "" {
			languages[code] = l
		}
	}
	languages["fa"] = whatlanggo.Pes
	languages["sw"] = swahili
}

// Languages are the codes of all languages that can be told.
func Languages() []string { return slices.Sorted(maps.Keys(languages)) }

// speaks reports whether a text is in a language. One without letters is in all. Common words
// narrow the choice, and trigrams (Cavnar and Trenkle, "N-Gram-Based Text Categorization", 1994)
// make it: they alone take one English sentence in eight for something else.
func speaks(code, s string) bool {
	if strings.IndexFunc(s, unicode.IsLetter) < 0 {
		return true
	}
	choice := append(slices.Clip(likely), code)
	if common[code] != "" {
		if some := byWords(s); len(some) > 0 {
			choice = some
		}
	}
	if len(choice) == 1 || code == "sw" {
		return slices.Equal(choice, []string{code})
	}
	among := map[whatlanggo.Lang]bool{}
	for _, c := range choice {
		among[languages[c]] = true
	}
	found := whatlanggo.DetectWithOptions(s, whatlanggo.Options{Whitelist: among})
	// Between two that are equally likely, it chooses by chance.
	return found.Lang == languages[code] && found.Confidence > 0
}

// byWords are the languages whose common words are more than two thirds as many in the text as
// those of any other. There are none where a text has few of any, or other letters.
func byWords(s string) []string {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !isWord(r) })
	n, most := map[string]int{}, 0
	for _, w := range words {
		for _, code := range speakers[w] {
			n[code]++
			most = max(most, n[code])
		}
	}
	if script := whatlanggo.DetectScript(s); 8*most < len(words) || script != unicode.Latin && script != unicode.Cyrillic {
		return nil
	}
	maps.DeleteFunc(n, func(_ string, k int) bool { return 3*k <= 2*most })
	return slices.Sorted(maps.Keys(n))
}

// speakers maps a common word to the languages that have it.
var speakers = map[string][]string{}

func init() {
	for code, words := range common {
		for _, w := range strings.Fields(words) {
			speakers[w] = append(speakers[w], code)
		}
	}
}

// common are words without which hardly a sentence is made in a language.
var common = map[string]string{
	"bg": "и на да се в от за не е си че с по това са като до но към при така му той тя ни ми сме ще аз",
	"cs": "a v se na je že s z do o to i ve by pro jako jsou ale za si po byl není nebo který co tak jsem",
	"da": "og i at det er en til på som for af med de den ikke et har jeg der vi han var fra kan men om sig hun min ja",
	"de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über ich wir mein ja",
	"en": "the of and to a in is it that for on with as was you i my your be are this not have at by from they we he she but or what can do me so if his her an will there no how s t m re am",
	"es": "de la el que y en los del se las por un para con no una su al lo como más pero sus le ya o este sí porque esta entre cuando muy sin sobre también me hasta hay es son mi yo",
	"fi": "ja on ei se että oli hän ovat mutta joka kuin myös olla sen minä kun niin tai mitä ole tämä kanssa voi sitä",
	"fr": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec ou son mais comme nous vous je elle leur très l d c j n qu",
	"hu": "a az és hogy nem is egy ez meg de van volt csak azt mint már még vagy el ki",
	"id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena ada adalah mereka kita",
	"it": "di e il la che in a per un è del non della una con i le da si al sono come più ma dei nel lo ha gli anche alla o se mia mio questo l",
	"nb": "og i det er på en til som å for med av at ikke den de et har jeg var fra vi han kan men om seg hun min ja",
	"nl": "de van het een en in is dat op te zijn met die voor niet aan er om ook als maar bij dan nog of uit door naar ik je wij hij wordt heeft ja",
	"pl": "w i na z do się nie że to jest o jak po co ale od za przez dla czy ich tak są było tylko jego oraz moja",
	"pt": "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu sua ou ser quando muito há nos já está eu também são minha",
	"ro": "și de în a la cu pe că nu un o din mai este sau care pentru se au fi ca dar lui sunt",
	"ru": "и в не на я что он с как это а по но мы о так из у за же от она было все для его мой моя или бы",
	"sv": "och i att det som en på är av för med den till inte om har de ett jag men var sig från så vi kan han hon min ja",
	"sw": "na ya wa kwa ni katika la za cha kama hii hiyo yake wake kuwa au pia hili huo sana watu ambayo ambao lakini zaidi kila siku moja mimi wewe yeye sisi hivyo bila kutoka yangu",
	"tr": "ve bir bu da de için ile çok ne daha gibi olarak ama o var kadar her sonra mi değil ben",
	"uk": "і й та в у на що не з до за як це він ми про його був вона але або від так для є я мій моя вже тож бо",
	"vi": "và của là có được cho không trong một người những với các để đã khi này cũng từ ở tôi đến như",
}
