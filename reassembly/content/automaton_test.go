package content

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recorder is a visitor that writes down what it is shown.
type recorder struct {
	class class
	seen  []string
}

func (r *recorder) wanted() class { return r.class }

func (r *recorder) visit(m *member) {
	r.seen = append(r.seen, fmt.Sprint(m.parent, m.depth, m.info, m.first, m.token, m.cut, m.name.enc, m.value.enc,
		string(m.name.octets), "=", string(m.value.octets)))
}

// walked is what a walk through a text finds.
type walked struct {
	seen       []string
	n          int
	set, order uint64
}

func walkBody(e *Extractor, text []byte, wanted class) walked {
	r := recorder{class: wanted}
	e.keys.reset()
	e.walkJSON(text, &r)
	return walked{r.seen, e.keys.n, e.keys.set, e.keys.order}
}

// walkAfresh is walkBody of an Extractor that has learned nothing.
func walkAfresh(e *Extractor, text []byte, wanted class) walked {
	e.automaton.reset()
	clear(e.automaton.once[:])
	return walkBody(e, text, wanted)
}

// led walks through a text and reports whether the automaton led to its end.
func led(e *Extractor, text []byte) bool {
	e.automaton.begin(text)
	_, done := e.follow(text, &recorder{})
	walkBody(e, text, 0)
	return done
}

func TestAnEdgeIsACacheLine(t *testing.T) {
	assert.EqualValues(t, 64, reflect.TypeFor[edge]().Size())
}

func TestWhatAssemblyCountsInIsAsLongAsItSays(t *testing.T) {
	assert.EqualValues(t, 4, reflect.TypeFor[ahead]().Size())
	assert.EqualValues(t, 16, reflect.TypeFor[trailValue]().Size())
	assert.Equal(t, 32, edgeOctets)
}

// leads are where an automaton leads through a text, from place to place.
func leads(a *automaton, text []byte) (all []string) {
	if text = afterGuard(text); !a.begin(text) {
		return nil
	}
	for p, why := (place{}), noRoom; why == noRoom; {
		p, why = a.lead(text, p)
		t := &a.trail
		values := 0
		for _, i := range t.edges[:t.n] {
			if a.edges[i].class != 0 {
				values++
			}
		}
		all = append(all, fmt.Sprint(p, why, t.edges[:t.n], t.values[:values]))
	}
	return all
}

func TestInsideALongArrayTheNextElementIsLikely(t *testing.T) {
	e := newExtractor(t, nil)
	a, next := &e.automaton, []byte(`},{"b":"x","c":"y"},{"b":"x","c":"y"}`)
	inside := `{"a":[{"b":"x","c":"y"` + strings.Repeat(`},{"b":"x","c":"y"`, 9)
	for n := range 10 {
		walkBody(e, []byte(inside+`}],"d":"z"}`), 0)
		if n < 3 {
			continue // it is learned
		}
		walkBody(e, []byte(inside), 0)
		choices := 0
		for _, likely := range a.likely {
			if second := likely[1] &^ again; second != 0 && second != likely[0] {
				choices++
				assert.True(t, a.edges[likely[0]].leads(next, 0, a.window(next, 0)))
			}
		}
		assert.Equal(t, 1, choices)
	}
}

func TestTheAutomatonLeadsThroughTextsLikeThoseBefore(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second string
		leads         bool
	}{
		{"other values", `{"a":"x","b":1}`, `{"a":"yy","b":-2.5}`, true},
		{"a string for a number", `{"a":"x","b":1}`, `{"a":"yy","b":"2"}`, false},
		{"a literal for a number", `{"a":1}`, `{"a":null}`, true},
		{"an object for a number", `{"a":1}`, `{"a":{}}`, false},
		{"a longer list", `{"a":[{"b":1,"c":"x"},{"b":2,"c":"y"}]}`, `{"a":[{"b":1,"c":"x"},{"b":2,"c":"y"},{"b":2,"c":"y"},{"b":2,"c":"y"}]}`, true},
		{"a longer list of numbers", `[1,2]`, `[1,2,3,4,5]`, true},
		{"a member less", `{"a":1,"b":2}`, `{"a":1}`, false},
		{"escapes in values", `{"a":"x","b":"y"}`, `{"a":"\"\\","b":"\u0022"}`, true},
		{"escapes in names", `{"\u0061":"x"}`, `{"\u0061":"y"}`, true},
		{"white space", "{\n  \"a\" : 1\n}\n", "{\n  \"a\" : 2\n}\n", true},
		{"other white space", `{"a":1}`, `{"a": 1}`, false},
		{"more behind the end", `{"a":1}`, `{"a":1} x`, true},
		{"no values", `{"a":{},"b":[]}`, `{"a":{},"b":[]}`, true},
		{"a long way between two values", `{"one":{"two":{"three":{"four":{"five":{"six":"x"}}}}}}`, `{"one":{"two":{"three":{"four":{"five":{"six":"y"}}}}}}`, true},
		{"a long name", `{"` + strings.Repeat("n", maxName) + `":"x"}`, `{"` + strings.Repeat("n", maxName) + `":"y"}`, true},
		{"a name that is too long to be one", `{"` + strings.Repeat("n", maxName+1) + `":"x"}`, `{"` + strings.Repeat("n", maxName+1) + `":"x"}`, false},
		{"names that are data", `{"by":{"10000001":1}}`, `{"by":{"10000001":1}}`, false},
		{"a scalar", `1`, `1`, false},
		{"an end that is missing", `{"a":1,"b":2}`, `{"a":1,"b":2`, false},
		{"a value that is missing", `{"a":1,"b":2}`, `{"a":1,"b":}`, false},
		{"a literal that is none", `{"a":true}`, `{"a":trux}`, false},
		{"a string without an end", `{"a":"x"}`, `{"a":"x}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newExtractor(t, nil)
			assert.False(t, led(e, []byte(c.first)), "nothing is learned yet")
			assert.False(t, led(e, []byte(c.first)), "seen once")
			assert.Equal(t, c.leads, led(e, []byte(c.second)), "seen twice")
			for _, wanted := range []class{0, classPassword | classWeak, ^class(0)} {
				got := walkBody(e, []byte(c.second), wanted)
				assert.Equal(t, walkAfresh(newExtractor(t, nil), []byte(c.second), wanted), got)
			}
		})
	}
}

// bodies makes texts of a kind whose members come and go.
func bodies(rng *rand.Rand) []byte {
	b := []byte{'{'}
	members := 1 + rng.IntN(6)
	if rng.IntN(20) == 0 {
		members = 100 // more than one trail has room for
	}
	for i := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `"%s":`, pick(rng, "a", "b", "password", "token", "items", "id", "user", "12345"))
		switch rng.IntN(8) {
		case 0:
			b = append(b, `null`...)
		case 1:
			b = fmt.Appendf(b, `[%d,"x",{"id":true}]`, rng.IntN(1000))
		case 2:
			b = fmt.Appendf(b, `{"id":"%x","error":{"code":"E%d"}}`, rng.Uint32(), rng.IntN(10))
		case 3:
			b = append(b, `[{"a":1,"b":"x\""},{"a":2,"c":[]}]`...)
		case 4:
			b = fmt.Appendf(b, `%d`, rng.IntN(1000))
		default:
			b = fmt.Appendf(b, `"%x"`, rng.Uint64())
		}
	}
	return append(b, '}')
}

func TestAWalkFindsTheSameWhateverWasLearned(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	learned, fresh := newExtractor(t, nil), newExtractor(t, nil)
	for range 20_000 {
		text := bodies(rng)
		if rng.IntN(10) == 0 {
			text = text[:rng.IntN(len(text))]
		}
		wanted := pick[class](rng, 0, classPassword|classWeak, ^class(0), class(rng.Uint32()))
		require.Equal(t, walkAfresh(fresh, text, wanted), walkBody(learned, text, wanted), "%s", text)
	}
	assert.Greater(t, len(learned.automaton.edges), 1000)
}

func TestAFullAutomatonIsEmptiedIfItLeadsNowhere(t *testing.T) {
	e := newExtractor(t, nil)
	common := []byte(`{"common":1}`)
	for range 3 {
		walkBody(e, common, 0)
	}
	a := &e.automaton
	for n := 0; !a.full; n++ { // a flood of structures, each sent until it is learned
		text := fmt.Appendf(nil, `{"%c%c%c":1,"x":2}`, 'a'+n%26, 'a'+n/26%26, 'a'+n/676%26)
		for range 3 {
			walkBody(e, text, 0)
		}
	}
	require.LessOrEqual(t, len(a.edges), maxEdges)
	require.LessOrEqual(t, len(a.states), maxStates)
	require.LessOrEqual(t, len(a.known), maxKnown)
	require.LessOrEqual(t, len(a.frames), maxFrames)
	require.True(t, led(e, common), "what was learned stays")
	for range fullFor {
		walkBody(e, common, 0)
	}
	assert.True(t, a.full, "it leads through all of them")
	for range fullFor + maxTrust {
		walkBody(e, []byte(`{"another":1}`), 0)
	}
	assert.False(t, a.full)
	assert.False(t, led(e, common))
}

func TestAnAutomatonThatLeadsNowhereIsFollowedSeldom(t *testing.T) {
	e := newExtractor(t, nil)
	a := &e.automaton
	for n := range 2 * maxTrust { // a flood of structures seen once
		text := fmt.Appendf(nil, `{"%c%c%c":1,"x":2}`, 'a'+n%26, 'a'+n/26%26, 'a'+n/676%26)
		walkBody(e, text, 0)
	}
	require.Zero(t, a.trust)
	assert.LessOrEqual(t, len(a.edges), 1, "nothing is learned")
	for range 5 * seldom {
		walkBody(e, []byte(`{"common":1}`), 0)
	}
	assert.Positive(t, a.trust, "it is trusted again when it leads on")
}

func TestManyKeysAreHandedOverToTheScanner(t *testing.T) {
	text := []byte{'{'}
	for i := range maxKeys + 100 {
		text = fmt.Appendf(text, `"k%c%c":{"password":"v%d"},`, 'a'+i%26, 'a'+i/26, i)
	}
	text = append(text, `"last":1}`...)
	e := newExtractor(t, nil)
	for _, wanted := range []class{0, classPassword} {
		want := walkAfresh(newExtractor(t, nil), text, wanted)
		require.Equal(t, maxKeys, want.n)
		for range 3 {
			require.Equal(t, want, walkBody(e, text, wanted))
		}
	}
}

func FuzzWalk(f *testing.F) {
	for _, s := range []string{
		"{\"a\":1}\n{\"a\":2}", "{\"a\":[1,{\"b\":\"\\\"\"}],\"c\":null}\n{\"a\":[{\"b\":\"x\"},{\"b\":\"y\"}],\"c\":true}\n[[]]",
		"{\"password\":[null,\"x\"]}\n{\"password\":[\"x\",[1],2]}", "{\"a\":{\"b\":{\"c\":{\"d\":\"e\"}}}}\n{\"a\":{\"b\":{\"c\":\"e\"}}}",
		"{\"a\":1,\"\\u0061\":2}\n{\"a\":1,\"a\":", "[\"\",\"\"]\n[\"\"", "{\"1234\":1,\"password1234\":\"x\"}\n{\"password1234\":2}",
	} {
		f.Add([]byte(s))
	}
	learned, err := New(Config{Key: testKey})
	require.NoError(f, err)
	fresh, err := New(Config{Key: testKey})
	require.NoError(f, err)
	plain, err := New(Config{Key: testKey})
	require.NoError(f, err)
	plain.automaton.vectors = false
	f.Fuzz(func(t *testing.T, data []byte) {
		learned.automaton.reset()
		plain.automaton.reset()
		texts := bytes.Split(data, []byte{'\n'})
		for range 3 { // seen, learned, followed
			for _, text := range texts {
				for _, wanted := range []class{classPassword | classAccount, ^class(0)} {
					want := walkAfresh(fresh, text, wanted)
					require.Equal(t, want, walkBody(learned, text, wanted), "%q", text)
					require.Equal(t, want, walkBody(plain, text, wanted), "%q", text)
				}
				require.Equal(t, leads(&plain.automaton, text), leads(&learned.automaton, text), "%q", text)
			}
		}
		a := &learned.automaton
		require.LessOrEqual(t, len(a.edges), 1+2*len(data))
		for i := range a.edges {
			require.LessOrEqual(t, int(a.edges[i].size), edgeOctets)
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	// A flood is of more structures than are remembered to have been seen once.
	for _, c := range []struct {
		name              string
		structures, items int
	}{
		{"one structure", 1, 1}, {"500 structures", 500, 1}, {"a flood of structures", 8*onceSlots + 1, 1}, {"a long array", 1, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 2))
			texts := make([][]byte, max(c.structures, 500))
			size := 0
			for i := range texts {
				n := i % c.structures
				text := fmt.Appendf(nil, `{"page%c%c%c":1,"items":[`, 'a'+n%26, 'a'+n/26%26, 'a'+n/676%26)
				for range c.items {
					text = fmt.Appendf(text, `{"id":"%08x","amount":"%d.%02d","currency":"EUR","date":"2026-03-%02d","text":"Card payment"},`,
						rng.Uint32(), rng.IntN(5000), rng.IntN(100), 1+rng.IntN(28))
				}
				texts[i] = fmt.Appendf(text, `{"id":"%08x","amount":"-17.20","currency":"EUR","date":"2026-03-02","text":"Direct debit"}],"total":412}`, rng.Uint32())
				size += len(texts[i])
			}
			e := newExtractor(b, nil)
			b.SetBytes(int64(size / len(texts)))
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				e.keys.reset()
				e.answer.reset()
				e.walkJSON(texts[n%len(texts)], &e.answer)
			}
		})
	}
}
