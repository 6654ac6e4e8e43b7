package policy

import "math/rand/v2"

// Stream is the random numbers of one purpose. Streams of different purposes under
// one key are independent, so what one candidate draws never shifts another's.
func Stream(key uint64, purpose ...uint64) *rand.Rand {
	h := mix(key)
	for _, p := range purpose {
		h = mix(h ^ mix(p))
	}
	return rand.New(rand.NewPCG(h, mix(h)))
}

// mix is the finaliser of splitmix64 (Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Key is the random key of one response: of a run's seed, its round, the prompt and
// the number of the sample.
func Key(seed uint64, round int, prompt string, sample int) uint64 {
	h := mix(seed ^ mix(uint64(round)))
	for _, b := range []byte(prompt) {
		h = mix(h ^ uint64(b))
	}
	return mix(h ^ uint64(sample))
}
