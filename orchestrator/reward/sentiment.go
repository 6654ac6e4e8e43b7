package reward

// openSentiment makes "sentiment", the compound score of VADER (Hutto and Gilbert 2014) of the response: -1 as
// bad as can be, 1 as good, 0 neutral, and 0 for an empty response. With s the sum of the words'
// valences, each as its neighbours change it (vader.go), and of the emphasis of ! and ?,
//
//	R = s / sqrt(s^2 + 15)
//
// "sentiment:pos" and "sentiment:neg" are the shares of the text that are good and bad, from 0 to
// 1; "sentiment:compound" is "sentiment". English only: of other languages it knows emoticons
// and emoji.
func openSentiment(argument string, _ Options) (Model, error) {
	of := map[string]func(polarity) float64{
		"":         func(p polarity) float64 { return p.compound },
		"compound": func(p polarity) float64 { return p.compound },
		"pos":      func(p polarity) float64 { return p.pos },
		"neg":      func(p polarity) float64 { return p.neg },
	}[argument]
	if of == nil {
		return nil, badArgument("sentiment", argument, "sentiment, sentiment:pos or sentiment:neg")
	}
	info := Info{Name: name("sentiment", argument), Fingerprint: "sentiment 1 " + argument, Hi: 1, Prefixes: true}
	if argument == "" || argument == "compound" {
		info.Fingerprint, info.Lo = "sentiment 1 compound", -1
	}
	v := loadVader()
	return rule{info: info, score: func(it Item) (float64, error) { return of(v.polarity(it.Response)), nil }}, nil
}
