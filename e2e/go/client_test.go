// The official client for Go against ivo serve, unmodified. scripts/e2e.sh says where the server is.
package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

func client(t *testing.T) (openai.Client, string) {
	t.Helper()
	url, model := os.Getenv("IVO_URL"), os.Getenv("IVO_MODEL")
	if url == "" || model == "" {
		t.Skip("IVO_URL and IVO_MODEL name no server: make e2e runs one")
	}
	return openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey("none"), option.WithMaxRetries(0)), model
}

func params(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: model, MaxTokens: openai.Int(12), Seed: openai.Int(3),
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("i found a lamp in the garden today. it was red.")},
	}
}

func TestChat(t *testing.T) {
	c, model := client(t)
	whole, err := c.Chat.Completions.New(t.Context(), params(model))
	if err != nil {
		t.Fatal(err)
	}
	text := whole.Choices[0].Message.Content
	stream := c.Chat.Completions.NewStreaming(t.Context(), params(model))
	acc := openai.ChatCompletionAccumulator{}
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Fatal("a chunk does not fit those before it")
		}
	}
	if err := stream.Err(); err != nil || text == "" || acc.Choices[0].Message.Content != text {
		t.Errorf("streamed %q, whole %q: %v", acc.Choices[0].Message.Content, text, err)
	}
	p := params(model)
	p.N, p.Logprobs, p.TopLogprobs = openai.Int(2), openai.Bool(true), openai.Int(2)
	many, err := c.Chat.Completions.New(t.Context(), p)
	if err != nil || len(many.Choices) != 2 || len(many.Choices[0].Logprobs.Content) == 0 || len(many.Choices[0].Logprobs.Content[0].TopLogprobs) != 2 {
		t.Errorf("%v: %+v", err, many)
	}
	models, err := c.Models.List(t.Context())
	if err != nil || len(models.Data) < 2 {
		t.Errorf("models: %v", err)
	}
}

var schema = map[string]any{
	"type": "object", "required": []string{"colour"}, "additionalProperties": false,
	"properties": map[string]any{"colour": map[string]any{"type": "string", "enum": []string{"red", "blue"}}},
}

func TestForms(t *testing.T) {
	c, model := client(t)
	var answer struct{ Colour string }
	p := params(model)
	p.MaxTokens = openai.Int(60)
	p.ResponseFormat = openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "answer", Schema: schema, Strict: openai.Bool(true)},
	}}
	formed, err := c.Chat.Completions.New(t.Context(), p)
	if err != nil || json.Unmarshal([]byte(formed.Choices[0].Message.Content), &answer) != nil || answer.Colour != "red" && answer.Colour != "blue" {
		t.Fatalf("%v: %+v", err, formed)
	}
	p = params(model)
	p.MaxTokens = openai.Int(200)
	p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "colour", Parameters: schema})}
	p.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: param.NewOpt("required")}
	called, err := c.Chat.Completions.New(t.Context(), p)
	if err != nil || len(called.Choices[0].Message.ToolCalls) != 1 || json.Unmarshal([]byte(called.Choices[0].Message.ToolCalls[0].Function.Arguments), &answer) != nil {
		t.Fatalf("%v: %+v", err, called)
	}
}

func TestResponses(t *testing.T) {
	c, model := client(t)
	p := responses.ResponseNewParams{Model: model, MaxOutputTokens: openai.Int(12), Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("i found a lamp")}}
	whole, err := c.Responses.New(t.Context(), p)
	if err != nil || whole.OutputText() == "" {
		t.Fatalf("%v: %+v", err, whole)
	}
	stream := c.Responses.NewStreaming(t.Context(), p)
	said, end := "", ""
	for stream.Next() {
		e := stream.Current()
		if e.Type == "response.output_text.delta" {
			said += e.Delta
		}
		end = e.Response.OutputText()
	}
	if err := stream.Err(); err != nil || said == "" || said != end {
		t.Errorf("said %q, the response says %q: %v", said, end, err)
	}
}

func TestErrors(t *testing.T) {
	c, model := client(t)
	for _, p := range []openai.ChatCompletionNewParams{params("other"), {Model: model}} {
		_, err := c.Chat.Completions.New(context.Background(), p)
		var e *openai.Error
		if !errors.As(err, &e) || e.StatusCode/100 != 4 || e.Message == "" {
			t.Errorf("%v", err)
		}
	}
}
