package fingerprint_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/fingerprint"
	"offpath/reassembly/message"
)

var update = flag.Bool("update", false, "write the fingerprints of the vectors anew")

const vectorFile = "testdata/fingerprint-vectors.json"

// vector is a request and what is to come of it.
type vector struct {
	Name     string      `json:"name"`
	Ignore   []string    `json:"ignore,omitempty"`
	Fields   [][2]string `json:"fields"`
	Version  string      `json:"version"`
	Settings [][2]uint32 `json:"settings,omitempty"`
	Window   uint32      `json:"window,omitempty"`
	JA4      string      `json:"ja4,omitempty"`

	CoreString  string `json:"core_string"`
	Core        string `json:"core"`
	LooseString string `json:"loose_string"`
	Loose       string `json:"loose"`
	WireString  string `json:"wire_string"`
	Wire        string `json:"wire"`
}

func fieldsOf(list [][2]string) (out []message.Field) {
	for _, f := range list {
		out = append(out, message.Field{Name: []byte(f[0]), Value: []byte(f[1])})
	}
	return out
}

func (v *vector) head() *message.Head {
	h := &message.Head{Version: v.Version, Fields: fieldsOf(v.Fields), Window: v.Window}
	for _, s := range v.Settings {
		h.Settings = append(h.Settings, message.Setting{ID: uint16(s[0]), Value: s[1]})
	}
	return h
}

func vectors(t testing.TB) map[string]vector {
	text, err := os.ReadFile(vectorFile)
	require.NoError(t, err)
	var list []vector
	require.NoError(t, json.Unmarshal(text, &list))
	named := make(map[string]vector)
	for _, v := range list {
		named[v.Name] = v
	}
	require.Len(t, named, len(list), "names are unique")
	return named
}

func TestVectors(t *testing.T) {
	text, err := os.ReadFile(vectorFile)
	require.NoError(t, err)
	var list []vector
	require.NoError(t, json.Unmarshal(text, &list))
	for i := range list {
		v := &list[i]
		names, fields, head := fingerprint.NewNames(v.Ignore), fieldsOf(v.Fields), v.head()
		got := *v
		got.CoreString, got.Core = string(names.AppendCore(nil, fields)), names.Core(fields)
		got.LooseString, got.Loose = string(names.AppendLoose(nil, fields)), names.Loose(fields)
		got.WireString, got.Wire = string(names.AppendWire(nil, head, v.JA4)), names.Wire(head, v.JA4)
		if !*update {
			assert.Equal(t, *v, got, v.Name)
		}
		core, loose, wire := model(v)
		assert.Equal(t, core, got.CoreString, v.Name)
		assert.Equal(t, loose, got.LooseString, v.Name)
		assert.Equal(t, wire, got.WireString, v.Name)
		assert.Equal(t, fmt.Sprintf("%x", sha256.Sum256([]byte(core)))[:16], got.Core, v.Name)
		*v = got
	}
	if *update {
		var out bytes.Buffer
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		require.NoError(t, e.Encode(list))
		require.NoError(t, os.WriteFile(vectorFile, out.Bytes(), 0o644))
	}
}

// model is the definition in the package documentation, written down again with
// regular expressions and maps.
func model(v *vector) (core, loose, wire string) {
	list := []string{"accept", "accept-charset", "accept-encoding", "accept-language", "sec-ch-ua", "sec-ch-ua-mobile",
		"sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "user-agent"}
	values, spelled := map[string][]string{}, map[string]string{}
	var order []string
	pseudo := ""
	for _, f := range v.Fields {
		if strings.HasPrefix(f[0], ":") {
			pseudo += f[0][1:2]
		}
		name := strings.ToLower(f[0])
		if slices.ContainsFunc(v.Ignore, func(s string) bool { return strings.ToLower(s) == name }) {
			continue
		}
		if slices.Contains(list, name) && values[name] == nil {
			order = append(order, name)
			spelled[name] = f[0]
		}
		values[name] = append(values[name], f[1])
	}
	value := func(name string) string {
		joined := strings.Join(values[name], ",")
		return joined[:min(len(joined), 512)]
	}
	compact := func(name string) string {
		return strings.Map(func(r rune) rune {
			if 'A' <= r && r <= 'Z' {
				return r + 'a' - 'A'
			}
			return r
		}, strings.NewReplacer(" ", "", "\t", "").Replace(value(name)))
	}
	habits := ""
	for _, h := range [][2]string{{"l", `-[a-z]`}, {"q", `=([^0]|$)`}, {"s", `[ \t]`}, {"u", `_`}, {"w", `\*`}} {
		if regexp.MustCompile(h[1]).MatchString(value("accept-language")) {
			habits += h[0]
		}
	}
	agent := value("user-agent")
	for _, r := range [][2]string{{`Android[^()]*\)`, "Android)"}, {`[0-9A-Fa-f-]{16,}`, "#"}, {`[0-9][0-9._]*`, "#"}} {
		agent = regexp.MustCompile(r[0]).ReplaceAllLiteralString(agent, r[1])
	}
	letters := ""
	for _, name := range order {
		switch s := spelled[name]; {
		case s == name:
			letters += "l"
		case regexp.MustCompile(`^[A-Z][a-z]*(-[A-Z][a-z]*)*$`).MatchString(s):
			letters += "t"
		case s == strings.ToUpper(s):
			letters += "u"
		default:
			letters += "m"
		}
	}
	frames := ""
	if v.Version == "2" {
		var settings []string
		for _, s := range v.Settings {
			if s[0]&0x0f0f == 0x0a0a {
				continue
			}
			settings = append(settings, fmt.Sprintf("%d:%d", s[0], s[1]))
		}
		frames = pseudo + ";" + strings.Join(settings, ",") + ";"
		if v.Window > 0 {
			frames += fmt.Sprint(v.Window)
		}
	}
	sorted := slices.Sorted(slices.Values(order))
	rest := []string{compact("accept-encoding"), compact("accept-charset"), habits, agent}
	join := func(head, names string, more ...string) string {
		return strings.Join(slices.Concat([]string{head, names}, rest, more), "\n")
	}
	return join("core 1", strings.Join(order, ",")),
		join("loose 1", strings.Join(sorted, ",")),
		join("wire 1", strings.Join(order, ","), compact("accept"), compact("te"), letters, v.Version, frames, v.JA4)
}

func FuzzModel(f *testing.F) {
	f.Add("user-agent", "Mozilla/5.0 (Linux; Android 13; SM) Android(", "Accept-Language", "en-us;q=0", "TE", "x")
	f.Add("User-Agent", "0123456789abcdef-Android 0.1._2)", "user-agent", "Android)", "accept", "q=")
	f.Add(":p", "x", "Sec-Ch-UA", "", "Accept-Encoding", " G Z\t")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2, n3, v3 string) {
		v := vector{Fields: [][2]string{{n1, v1}, {n2, v2}, {n3, v3}}, Version: "2"}
		for _, field := range v.Fields {
			for _, c := range []byte(field[0] + field[1]) {
				if c >= 0x80 || c < ' ' && c != '\t' { // the model reads runes, and $ lines
					return
				}
			}
			if field[0] == ":" || !regexp.MustCompile(`^:?[A-Za-z-]*$`).MatchString(field[0]) {
				return
			}
		}
		var names fingerprint.Names
		fields := fieldsOf(v.Fields)
		core, loose, wire := model(&v)
		require.Equal(t, core, string(names.AppendCore(nil, fields)))
		require.Equal(t, loose, string(names.AppendLoose(nil, fields)))
		require.Equal(t, wire, string(names.AppendWire(nil, v.head(), v.JA4)))
	})
}

func TestWhatTheCoreTellsApartAndWhatNot(t *testing.T) {
	named := vectors(t)
	for _, c := range []struct {
		name, a, b  string
		core, loose bool // are the same
	}{
		{"versions and hosts make no difference", "curl, HTTP/1.1", "curl of another version, another address", true, true},
		{"nor does a body", "curl, HTTP/1.1", "curl that posts a form", true, true},
		{"nor the device, nor what is accepted", "an app on Android, whose user-agent names the device", "the same app on another device", true, true},
		{"nor do the HTTP version, the languages, and what a load balancer adds", "Chromium, a fetch, HTTP/1.1", "the same in HTTP/2, in five languages, behind a load balancer", true, true},
		{"a script is not curl", "curl, HTTP/1.1", "requests of Python", false, false},
		{"browsers differ", "Chromium, a fetch, HTTP/1.1", "Firefox, with te", false, false},
	} {
		a, b := named[c.a], named[c.b]
		require.NotEmpty(t, a.Core, c.a)
		require.NotEmpty(t, b.Core, c.b)
		assert.Equal(t, c.core, a.Core == b.Core, c.name)
		assert.Equal(t, c.loose, a.Loose == b.Loose, c.name)
	}
}

func TestOrderCountsInTheCoreAlone(t *testing.T) {
	var names fingerprint.Names
	a := fieldsOf([][2]string{{"User-Agent", "x"}, {"Accept", "*/*"}})
	b := fieldsOf([][2]string{{"Accept", "*/*"}, {"User-Agent", "x"}})
	assert.NotEqual(t, names.Core(a), names.Core(b))
	assert.Equal(t, names.Loose(a), names.Loose(b))
}

func TestWhatOnlyTheWireTells(t *testing.T) {
	var names fingerprint.Names
	plain := vector{Fields: [][2]string{{"User-Agent", "x"}, {"Accept", "*/*"}}, Version: "2"}
	for _, c := range []struct {
		name   string
		change func(v *vector)
	}{
		{"casing", func(v *vector) { v.Fields = [][2]string{{"user-agent", "x"}, {"Accept", "*/*"}} }},
		{"what is accepted", func(v *vector) { v.Fields = [][2]string{{"User-Agent", "x"}, {"Accept", "a/b"}} }},
		{"TE", func(v *vector) { v.Fields = append(plain.Fields, [2]string{"TE", "trailers"}) }},
		{"the version", func(v *vector) { v.Version = "1.1" }},
		{"JA4", func(v *vector) { v.JA4 = "t13d" }},
		{"pseudo-header fields", func(v *vector) { v.Fields = append([][2]string{{":path", "/"}}, plain.Fields...) }},
		{"a setting", func(v *vector) { v.Settings = [][2]uint32{{1, 2}} }},
		{"the window", func(v *vector) { v.Window = 1 }},
	} {
		other := plain
		c.change(&other)
		assert.Equal(t, names.Core(fieldsOf(plain.Fields)), names.Core(fieldsOf(other.Fields)), c.name)
		assert.NotEqual(t, names.Wire(plain.head(), plain.JA4), names.Wire(other.head(), other.JA4), c.name)
	}
}

// Requests are passed on as load balancers do it.
func TestBothLegsOfALoadBalancerShowTheSameSoftware(t *testing.T) {
	drop := func(list [][2]string, gone ...string) (out [][2]string) {
		for _, f := range list {
			if !slices.Contains(gone, strings.ToLower(f[0])) {
				out = append(out, f)
			}
		}
		return out
	}
	lower := func(list [][2]string) (out [][2]string) {
		for _, f := range list {
			out = append(out, [2]string{strings.ToLower(f[0]), f[1]})
		}
		return out
	}
	for name, pass := range map[string]func([][2]string) [][2]string{
		"adds three and removes one": func(l [][2]string) [][2]string {
			return append(drop(l, "connection"), [2]string{"X-Forwarded-For", "192.0.2.1"}, [2]string{"X-Forwarded-Proto", "https"}, [2]string{"X-Request-Id", "7"})
		},
		"HAProxy lowers names and puts cookies last": func(l [][2]string) [][2]string {
			return append(lower(drop(l, "connection", "cookie")), [2]string{"cookie", "a=b"}, [2]string{"x-forwarded-for", "192.0.2.1"})
		},
		"nginx puts its own in front, and drops what is hop by hop": func(l [][2]string) [][2]string {
			return slices.Concat([][2]string{{"X-Real-IP", "192.0.2.1"}, {"Host", "backend"}, {"Connection", "close"}}, drop(l, "te", "connection", "keep-alive", "upgrade", "expect", "host"))
		},
		"the operator's header stands before all": func(l [][2]string) [][2]string {
			return slices.Concat([][2]string{{"Accept-Charset", "edge"}}, l)
		},
	} {
		names := fingerprint.NewNames([]string{"accept-charset"})
		for _, v := range vectors(t) {
			front, back := fieldsOf(v.Fields), fieldsOf(pass(v.Fields))
			assert.Equal(t, names.Core(front), names.Core(back), "%s: %s", name, v.Name)
			assert.Equal(t, names.Loose(front), names.Loose(back), "%s: %s", name, v.Name)
		}
	}
}
