package endpoint

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// corpus are path templates of real APIs, beside the project.
const corpus = "../../../shared/facts/datasets/openapi-templates/templates.jsonl"

// api is one API of the corpus.
type api struct {
	name       string
	base       string
	operations []operation
}

type operation struct {
	method, path string
	parameters   map[string]schema
}

type schema struct {
	Type, Format, Pattern string
	Enum                  []any
}

// apisOf reads the corpus.
func apisOf(t testing.TB) []api {
	text, err := os.ReadFile(corpus)
	if os.IsNotExist(err) {
		t.Skipf("no corpus of path templates at %s", corpus)
	}
	require.NoError(t, err)
	var list []api
	for line := range strings.Lines(string(text)) {
		var a struct {
			API, Base string
			Endpoints [][3]json.RawMessage
		}
		require.NoError(t, json.Unmarshal([]byte(line), &a))
		made, seen := api{name: a.API, base: a.Base}, map[string]bool{}
		for _, e := range a.Endpoints {
			var o operation
			require.NoError(t, json.Unmarshal(e[0], &o.method))
			require.NoError(t, json.Unmarshal(e[1], &o.path))
			if err := json.Unmarshal(e[2], &o.parameters); err != nil {
				o.parameters = map[string]schema{} // some specifications have lists where a string belongs
			}
			o.path = o.sent()
			if template := canonical(o.method, o.path); !seen[template] { // the names of parameters are not sent
				seen[template] = true
				made.operations = append(made.operations, o)
			}
		}
		list = append(list, made)
	}
	return list
}

var (
	colon = regexp.MustCompile(`/:(\w+)`)
	hash  = regexp.MustCompile(`#(.*[/{])`)
)

// sent is the template of an operation as a client sends it: some specifications
// write a parameter as :name, which others have braces for, give the query with
// the path, or have # in it, which no request has but to tell operations of one
// path apart by (where nothing but a name follows). A parameter that can have one
// value only is a literal segment.
func (o *operation) sent() string {
	path := colon.ReplaceAllString(hash.ReplaceAllString(o.path, "$1"), "/{$1}")
	path, operation, several := strings.Cut(path, "#")
	path, _, _ = strings.Cut(path, "?")
	if several {
		path += "#" + operation
	}
	return braces.ReplaceAllStringFunc(path, func(name string) string {
		if values := o.parameters[name[1:len(name)-1]].choices(); len(values) == 1 {
			return values[0]
		}
		return name
	})
}

// choices are the values that a parameter may have, if they are listed.
func (s schema) choices() []string {
	var values []string
	for _, v := range s.Enum {
		if text := fmt.Sprint(v); text != "" {
			values = append(values, text)
		}
	}
	return values
}

// synthesis makes values of parameters by their types and names.
type synthesis struct {
	rng   *rand.Rand
	pools map[string]pool
	style int // of identifiers: most APIs have one
}

// pool is the values that a parameter takes, the first the most frequent.
type pool struct {
	values []string
	skew   float64
}

func (p pool) pick(rng *rand.Rand) string {
	return p.values[int(float64(len(p.values))*math.Pow(rng.Float64(), 1+p.skew))]
}

const (
	digit10 = "0123456789"
	hex16   = digit10 + "abcdef"
	lower26 = "abcdefghijklmnopqrstuvwxyz"
	upper26 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	mixed62 = digit10 + lower26 + upper26
	base32  = digit10 + "ABCDEFGHJKMNPQRSTVWXYZ"
)

func (s *synthesis) text(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[s.rng.IntN(len(alphabet))]
	}
	return string(b)
}

func (s *synthesis) between(low, high int) int { return low + s.rng.IntN(high-low+1) }

// scale is a number of logarithmically uniform size.
func (s *synthesis) scale(low, high float64) int {
	return int(low * math.Pow(high/low, s.rng.Float64()))
}

// word is something that can be pronounced.
func (s *synthesis) word() string {
	const onsets, vowels, codas = "b c d f g h j k l m n p r s t v w st tr pl gr br ch sh", "a e i o u a e i o ea ou", " n r s t l nd rt ck m"
	list := func(s string) []string { return strings.Split(s, " ") }
	one := func(l []string) string { return l[s.rng.IntN(len(l))] }
	text := ""
	for range s.between(1, 3) {
		text += one(list(onsets)) + one(list(vowels)) + one(list(codas))
	}
	return text
}

func (s *synthesis) slug() string {
	words := []string{s.word()}
	for range s.rng.IntN(3) {
		words = append(words, s.word())
	}
	text := strings.Join(words, "-")
	if s.rng.IntN(5) == 0 {
		text += fmt.Sprint("-", s.between(1, 99))
	}
	return text
}

func (s *synthesis) uuid() string {
	return fmt.Sprintf("%s-%s-4%s-%s%s-%s", s.text(hex16, 8), s.text(hex16, 4), s.text(hex16, 3), s.text("89ab", 1), s.text(hex16, 3), s.text(hex16, 12))
}

var (
	idName     = regexp.MustCompile(`(?i)(^id|[-_]id|[a-z]Id|ID|Sid|_sid)\d*$`)
	whoName    = regexp.MustCompile(`(?i)user|owner|login|handle|org$|enterprise|member|author`)
	slugName   = regexp.MustCompile(`(?i)slug|repo|project|name|title|branch|team|namespace|workspace|bucket|resource|parent|collection|server`)
	codeName   = regexp.MustCompile(`(?i)code|currency|country|symbol|iata|ticker|sku|isin`)
	dateName   = regexp.MustCompile(`(?i)date|day$`)
	numberName = regexp.MustCompile(`(?i)number|num$|count|page|index|year|lat|lon|height|size|timestamp`)
	localeName = regexp.MustCompile(`(?i)locale|lang`)
	choiceName = regexp.MustCompile(`(?i)format|type|kind|status|scope|region|zone|location|period|category|mode|platform|action|relation|interval|network`)
	randomName = regexp.MustCompile(`(?i)token|hash|sha|^ref$|key|arn|secret|digest|code_`)
	exactly    = regexp.MustCompile(`^\^([A-Za-z]*)\[[^\]]*\]\{(\d+)\}`)
)

// values is the pool of one parameter.
func (s *synthesis) values(name string, of schema) pool {
	if choices := of.choices(); len(choices) > 0 {
		return pool{values: choices}
	}
	number := func() string { return fmt.Sprint(s.between(1, 99)) }
	large := s.between(3, 9)
	id := func() string { return fmt.Sprint(s.between(1, int(math.Pow10(large)))) }
	token := func(n int) func() string { return func() string { return s.text(mixed62, n) } }
	words, slugs := func() string { return s.word() }, func() string { return s.slug() }
	prefix, style := s.word()[:2], s.style
	if s.rng.IntN(4) == 0 {
		style = s.rng.IntN(100)
	}
	identifiers := func() pool {
		n := s.scale(20, 5000)
		switch {
		case style < 40:
			return s.fill(n, 0, id)
		case style < 65:
			return s.fill(n, 0, s.uuid)
		case style < 73:
			return s.fill(n, 0, func() string { return s.text(hex16, 24) })
		case style < 82:
			return s.fill(n, 0, token(s.between(16, 24)))
		case style < 88:
			return s.fill(n, 0, func() string { return prefix + "_" + s.text(mixed62, 14) })
		case style < 91:
			return s.fill(n, 0, func() string { return "01" + s.text(base32, 24) })
		}
		return s.fill(n, 0.5, slugs)
	}
	switch {
	case of.Type == "integer" || of.Type == "number" || of.Format == "int64":
		return s.fill(s.scale(20, 5000), 0, id)
	case of.Type == "boolean":
		return pool{values: []string{"true", "false"}}
	case of.Format == "uuid" || of.Format == "guid" || strings.Contains(strings.ToLower(name), "uuid") || strings.Contains(strings.ToLower(name), "guid"):
		return s.fill(s.scale(20, 5000), 0, s.uuid)
	case of.Format == "email" || strings.Contains(strings.ToLower(name), "email"):
		return s.fill(s.scale(20, 2000), 0, func() string { return s.word() + "." + s.word() + "@" + s.word() + ".example" })
	case of.Format == "date" || of.Format == "date-time" || dateName.MatchString(name):
		return s.fill(s.scale(20, 400), 0, func() string {
			return fmt.Sprintf("20%02d-%02d-%02d", s.between(20, 26), s.between(1, 12), s.between(1, 28))
		})
	case exactly.MatchString(of.Pattern):
		m := exactly.FindStringSubmatch(of.Pattern)
		var n int
		_, _ = fmt.Sscan(m[2], &n)
		return s.fill(s.scale(20, 5000), 0, func() string { return m[1] + s.text(hex16, max(n, 4)) })
	case localeName.MatchString(name):
		return s.fill(s.between(3, 20), 0.5, func() string { return s.text(lower26, 2) + "-" + s.text(upper26, 2) })
	case codeName.MatchString(name):
		n := s.between(2, 5)
		return s.fill(s.between(8, 150), 0.5, func() string { return s.text(upper26, n) })
	case idName.MatchString(name):
		return identifiers()
	case randomName.MatchString(name):
		return s.fill(s.scale(20, 2000), 0, token(s.between(16, 40)))
	case numberName.MatchString(name):
		return s.fill(s.between(20, 90), 0.5, number)
	case whoName.MatchString(name):
		return s.fill(s.scale(20, 2000), 0.5, words)
	case choiceName.MatchString(name):
		return s.fill(s.between(3, 12), 0.5, words)
	case slugName.MatchString(name):
		return s.fill(s.scale(10, 2000), 0.5, slugs)
	}
	switch s.rng.IntN(3) {
	case 0:
		return s.fill(s.scale(10, 1000), 0.5, words)
	case 1:
		return s.fill(s.scale(10, 1000), 0.5, slugs)
	}
	return identifiers()
}

// fill makes a pool of up to n distinct values.
func (s *synthesis) fill(n int, skew float64, make func() string) pool {
	seen := map[string]bool{}
	p := pool{skew: skew}
	for range 4 * n {
		if len(p.values) == n {
			break
		}
		if v := make(); !seen[v] {
			seen[v] = true
			p.values = append(p.values, v)
		}
	}
	return p
}

var braces = regexp.MustCompile(`\{[^{}]*\}`)

// instance is a path of a template. What has the same place in the tree of
// templates has the same values.
func (s *synthesis) instance(o *operation) string {
	path := ""
	at := 0
	for _, m := range braces.FindAllStringIndex(o.path, -1) {
		name := o.path[m[0]+1 : m[1]-1]
		place := braces.ReplaceAllString(o.path[:m[0]], "{}")
		p, ok := s.pools[place]
		if !ok {
			p = s.values(name, o.parameters[name])
			s.pools[place] = p
		}
		path += o.path[at:m[0]] + p.pick(s.rng)
		at = m[1]
	}
	return path + o.path[at:]
}
