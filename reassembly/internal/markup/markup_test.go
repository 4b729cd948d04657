package markup

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tokens are those of a text: <name attributes>, </name>, <name/> and "text",
// the latter with … where it may go on.
func tokens(text string) string {
	var list []string
	s := New([]byte(text))
	for {
		switch t, raw := s.Next(); t {
		case End:
			return strings.Join(list, " ")
		case Open:
			item := string(raw)
			for rest := s.Attributes(); ; {
				var name, value []byte
				if name, value, rest = NextAttribute(rest); len(name) == 0 {
					break
				}
				item += fmt.Sprintf(" %s=%s", name, AppendText(nil, value))
			}
			if s.Empty() {
				item += "/"
			}
			list = append(list, "<"+item+">")
		case Close:
			list = append(list, "</"+string(raw)+">")
		case Text:
			item := fmt.Sprintf("%q", AppendText(nil, raw))
			if s.Cut() {
				item += "…"
			}
			list = append(list, item)
		}
	}
}

func TestTokens(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"elements", "<a><b>x</b><c/></a>", `<a> <b> "x" </b> <c/> </a>`},
		{"attributes in any quotes or none", `<a x="1 > 0" y = 'b"' z=3 w><b q='1'/></a >`, `<a x=1 > 0 y=b" z=3 w=> <b q=1/> </a>`},
		{"white space around text", "<a>\n  x y\t</a>", `<a> "x y" </a>`},
		{"declarations, comments, instructions", "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b \"]>\"><!ELEMENT a (b)>]><!-- <x> --><a><?y z?></a>", "<a> </a>"},
		{"a section", "<a>x<![CDATA[<b>&amp;]]>y</a>", `<a> "x<b>&amp;y" </a>`},
		{"a comment within text", "<a>se<!-- x -->cret</a>", `<a> "secret" </a>`},
		{"references", "<a>&lt;&#65;&#x42;&quot;&apos;&amp;amp;&gt;</a>", `<a> "<AB\"'&amp;>" </a>`},
		{"entities that nobody knows stay", "<a>&lol;&;&#x110000;&#0;&#;&#x;& &amp</a>", `<a> "&lol;&;&#x110000;&#0;&#;&#x;& &amp" </a>`},
		{"a sign that begins no tag", "<a>1 < 2 <= 3</a>", `<a> "1 < 2 <= 3" </a>`},
		{"SGML without end tags", "<STATUS><CODE>0<SEVERITY>INFO</STATUS>", `<STATUS> <CODE> "0" <SEVERITY> "INFO" </STATUS>`},
		{"an instruction as SGML ends it", "<?OFX x><a>1</a>", `<a> "1" </a>`},
		{"a tag that the next one ends", "<a <b>x</b>", `<a> <b> "x" </b>`},
		{"text that is cut off", "<a>xyz", `<a> "xyz"…`},
		{"tags that are cut off", "<a><b x='", `<a>`},
		{"an end tag that is cut off", "<a>x</a", `<a> "x"`},
		{"a comment that is cut off", "<a>x<!-- y</a>", `<a> "x"…`},
		{"nothing", "", ""},
		{"no markup", "plain", `"plain"…`},
		{"only a sign", "<", `"<"…`},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, tokens(c.text)) })
	}
}

func TestAHostileTextCostsNoMoreThanItsLength(t *testing.T) {
	for name, part := range map[string]string{
		"instructions without end": "<?x>", "quotes without end": `<a b="`, "sections": "<![CDATA[", "comments": "<!--",
		"declarations": "<!x [", "signs": "<", "tags": "<a", "references": "&#",
	} {
		t.Run(name, func(t *testing.T) {
			text := []byte(strings.Repeat(part, 1<<20/len(part)))
			n := 0
			for s := New(text); ; n++ {
				token, raw := s.Next()
				if token == End {
					break
				}
				AppendText(nil, raw)
			}
			assert.LessOrEqual(t, n, len(text))
		})
	}
}

func TestNothingIsAllocated(t *testing.T) {
	text := []byte("<?xml version='1.0'?><a b='c'>x &amp; y<d/></a>")
	buf := make([]byte, 0, 100)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		for s := New(text); ; {
			token, raw := s.Next()
			if token == End {
				break
			}
			buf = AppendText(buf[:0], raw)
			NextAttribute(s.Attributes())
		}
	}))
}

func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		"<a x='1'><b>t &amp; &#65;</b><c/><![CDATA[x]]><!-- y --></a>", "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
		"<OFX><CODE>0<X>1</OFX>", "<a b=\"", "<", "</", "<!", "<?", "&#x;",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var names []string
		var content []byte
		s := New([]byte(text))
		octets := 0
		for {
			token, raw := s.Next()
			if token == End {
				break
			}
			octets += len(raw)
			switch token {
			case Open:
				names = append(names, string(raw))
			case Text:
				content = AppendText(content, raw)
				require.NotEmpty(t, raw)
			}
		}
		require.LessOrEqual(t, octets, len(text))
		require.LessOrEqual(t, len(content), len(text))
		compare(t, text, names)
	})
}

// compare holds the names of elements against encoding/xml's, where that finds a
// well-formed document of the plainest kind.
func compare(t *testing.T, text string, names []string) {
	d := xml.NewDecoder(strings.NewReader(text))
	var want []string
	for {
		token, err := d.RawToken()
		if err != nil {
			if err.Error() == "EOF" {
				require.Equal(t, want, names)
			}
			return
		}
		switch v := token.(type) {
		case xml.StartElement:
			name := v.Name.Local
			if v.Name.Space != "" {
				name = v.Name.Space + ":" + name
			}
			want = append(want, name)
		case xml.Directive, xml.ProcInst, xml.Comment:
			return // what is within is read differently where it is odd
		case xml.CharData:
			if bytes.ContainsAny(v, "<") {
				return
			}
		}
	}
}
