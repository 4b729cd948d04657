package jsonscan

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// walk returns the tokens of a text as words, and whether it is whole.
func walk(data []byte) (words []string, whole bool) {
	s := New(data)
	for {
		switch t, raw := s.Next(); t {
		case End:
			return words, s.Whole()
		case Object:
			words = append(words, "{")
		case Array:
			words = append(words, "[")
		case Close:
			words = append(words, "end")
		case Key:
			words = append(words, "key "+string(AppendUnescaped(nil, raw)))
		case String:
			words = append(words, "string "+string(AppendUnescaped(nil, raw)))
		case Number:
			words = append(words, "number "+string(raw))
		case True:
			words = append(words, "true")
		case False:
			words = append(words, "false")
		case Null:
			words = append(words, "null")
		}
	}
}

func TestTokens(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		whole            bool
	}{
		{"an object", `{"a":1,"b":[true,false,null,"x"],"c":{}}`, `{ | key a | number 1 | key b | [ | true | false | null | string x | end | key c | { | end | end`, true},
		{"a scalar", ` -1.5e+3 `, `number -1.5e+3`, true},
		{"escapes", `"\"\\\/\b\f\n\r\t\u00e9\ud83c\udfe6\ud800x\q"`, "string \"\\/\b\f\n\r\té🏦\ufffdx\\q", true},
		{"an empty array", `[]`, `[ | end`, true},
		{"cut inside a string", `{"a":"b`, `{ | key a`, false},
		{"cut inside a number", `{"a":12`, `{ | key a`, false},
		{"cut inside a literal", `[tru`, `[`, false},
		{"cut behind a backslash", `["a\`, `[`, false},
		{"cut behind a key", `{"a"`, `{`, false},
		{"nothing", ``, ``, false},
		{"a comma too much", `[1,]`, `[ | number 1`, false},
		{"a comma too much in an object", `{"a":1,}`, `{ | key a | number 1`, false},
		{"the wrong bracket", `[1}`, `[ | number 1`, false},
		{"no colon", `{"a" 1}`, `{`, false},
		{"something behind", `{}x`, `{ | end`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			words, whole := walk([]byte(c.text))
			assert.Equal(t, c.want, strings.Join(words, " | "))
			assert.Equal(t, c.whole, whole)
		})
	}
}

func TestDepthIsBounded(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	_, whole := walk(nested(MaxDepth))
	assert.True(t, whole)
	words, whole := walk(nested(MaxDepth + 1))
	assert.False(t, whole)
	assert.Len(t, words, MaxDepth)
}

func TestScanningDoesNotAllocate(t *testing.T) {
	data := []byte(`{"a":[1,2,{"b":"c\n"}],"d":null}`)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		for s := New(data); ; {
			if token, _ := s.Next(); token == End {
				return
			}
		}
	}))
}

// oracle returns the same as walk by encoding/json.
func oracle(t *testing.T, data []byte) (words []string) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	type frame struct{ object, key bool }
	var stack []frame
	for {
		token, err := d.Token()
		if err == io.EOF {
			return words
		}
		require.NoError(t, err)
		var top *frame
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		if s, ok := token.(string); ok && top != nil && top.object && !top.key {
			words = append(words, "key "+s)
			top.key = true
			continue
		}
		if top != nil && token != json.Delim('}') && token != json.Delim(']') {
			top.key = false
		}
		switch v := token.(type) {
		case json.Delim:
			switch v {
			case '{', '[':
				words = append(words, string(rune(v)))
				stack = append(stack, frame{object: v == '{'})
			default:
				words = append(words, "end")
				stack = stack[:len(stack)-1]
			}
		case string:
			words = append(words, "string "+v)
		case json.Number:
			words = append(words, "number "+v.String())
		case bool:
			words = append(words, map[bool]string{true: "true", false: "false"}[v])
		case nil:
			words = append(words, "null")
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":[true,null],"c":{"d":"e"}}`, `"\u00e9\ud83c\udfe6\ud800"`, `[[[]]]`, ` 0 `, `{"a`, "\"\xff\"", `{"":"\\"}`, `[1e5,-0.5]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		words, whole := walk(data)
		require.LessOrEqual(t, len(words), len(data))
		if !json.Valid(data) {
			return
		}
		depth := 0
		for _, w := range oracle(t, data) {
			switch w {
			case "{", "[":
				if depth++; depth > MaxDepth {
					return
				}
			case "end":
				depth--
			}
		}
		require.True(t, whole)
		for i, w := range words { // encoding/json puts U+FFFD for each octet that is no UTF-8
			words[i] = string([]rune(w))
		}
		require.Equal(t, oracle(t, data), words)
		// Cut anywhere, it finds what was complete before; of a number at the top
		// nothing tells that it is cut.
		if len(words) > 1 {
			part, _ := walk(data[:len(data)/2])
			for i, w := range part {
				part[i] = string([]rune(w))
			}
			require.LessOrEqual(t, len(part), len(words))
			require.Equal(t, append([]string{}, words[:len(part)]...), append([]string{}, part...))
		}
	})
}
