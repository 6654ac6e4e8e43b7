package valuehead_test

import (
	"context"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// A head learns what states are worth from the returns of the responses they belong to: here
// the return is the sum of the first numbers of a response's states. Then it follows a response
// token by token.
func Example() {
	schema := states.Schema{Backbone: "fingerprint", Layers: []int{12}, Width: 2, Scalars: []string{"logp"}}
	features, err := valuehead.NewFeatures(schema, valuehead.FeatureOptions{})
	if err != nil {
		log.Fatal(err)
	}
	data := valuehead.NewDataset(features)
	rng := rand.New(rand.NewPCG(1, 0))
	for i := range 400 {
		const length = 4
		t := &states.Trajectory{Prompt: fmt.Sprint("p", i/4), Sample: i % 4, Tokens: make([]int32, length), Scalars: make([]float32, length)}
		ret := float32(0)
		for range length {
			h := float32(rng.NormFloat64())
			t.Hidden = append(t.Hidden, h, 1)
			ret += h
		}
		if err := data.Add(t, ret); err != nil {
			log.Fatal(err)
		}
	}
	head, report, err := valuehead.Train(context.Background(), data, valuehead.TrainOptions{Epochs: 20, Batch: 64, Workers: 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("it knows the return of whole responses:", report.HeldOut.Last.R2 > 0.8)

	dir, err := os.MkdirTemp("", "head")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "head.gguf")
	if err := head.Save(path); err != nil {
		log.Fatal(err)
	}
	if head, err = valuehead.Load(path); err != nil {
		log.Fatal(err)
	}
	good, err := head.Begin(nil)
	if err != nil {
		log.Fatal(err)
	}
	bad := good.Clone() // a beam that forks
	for range 3 {
		if err := good.Push(0, []float32{1, 1}, []float32{0}); err != nil {
			log.Fatal(err)
		}
		if err := bad.Push(0, []float32{-1, 1}, []float32{0}); err != nil {
			log.Fatal(err)
		}
	}
	values := make([]float32, 2)
	if err := head.Values([]*valuehead.Memory{good, bad}, valuehead.Reading{}, values); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the better one has the higher value:", values[0] > values[1]+2)
	// Output:
	// it knows the return of whole responses: true
	// the better one has the higher value: true
}

// words are embeddings: one row for each of five tokens, which point in directions of their own.
type words []string

func (w words) Len() int   { return len(w) }
func (w words) Width() int { return len(w) }
func (w words) Rows(from int, dst []float32) error {
	clear(dst)
	for i := range len(dst) / len(w) {
		dst[i*len(w)+from+i] = 1
	}
	return nil
}

// A head that is nothing but a sum over tokens knows what each of them adds before it is fed: here
// from the returns of responses alone, one for each sun in them and one less for each rain.
func ExampleHead_Advantages() {
	vocabulary := words{"sun", "rain", "wind", "sea", "hill"}
	schema := states.Schema{Backbone: "fingerprint", Layers: []int{12}, Width: 1}
	features, err := valuehead.NewFeatures(schema, valuehead.FeatureOptions{})
	if err != nil {
		log.Fatal(err)
	}
	data := valuehead.NewDataset(features)
	rng := rand.New(rand.NewPCG(1, 0))
	for i := range 400 {
		t := &states.Trajectory{Prompt: fmt.Sprint("p", i/4), Sample: i % 4}
		ret := float32(0)
		for range 6 {
			token := rng.Int32N(int32(len(vocabulary)))
			t.Tokens, t.Hidden = append(t.Tokens, token), append(t.Hidden, 0)
			switch vocabulary[token] {
			case "sun":
				ret++
			case "rain":
				ret--
			}
		}
		if err := data.Add(t, ret); err != nil {
			log.Fatal(err)
		}
	}
	head, _, err := valuehead.Train(context.Background(), data, valuehead.TrainOptions{Kind: valuehead.Additive, Embeddings: vocabulary, Workers: 1})
	if err != nil {
		log.Fatal(err)
	}
	for token, adds := range head.Advantages().Of(nil) {
		fmt.Printf("%-4s %2d\n", vocabulary[token], int(math.Round(float64(adds))))
	}
	// Output:
	// sun   1
	// rain -1
	// wind  0
	// sea   0
	// hill  0
}
