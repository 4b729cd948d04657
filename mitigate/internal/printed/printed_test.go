package printed_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate/internal/printed"
)

func TestTemplatesOfAFolderBecomeTexts(t *testing.T) {
	files := fstest.MapFS{
		"setup/a.cfg":  {Data: []byte(`a {{.}} {{block "inner" .}}<{{.}}>{{end}}`)},
		"setup/b.cfg":  {Data: []byte(`b {{template "inner" .}}`)},
		"setup/no.lua": {Data: []byte("{{ is no template")},
	}
	var a, b, inner string
	require.NoError(t, printed.Texts(files, "setup/*.cfg", 7, map[string]*string{"a.cfg": &a, "b.cfg": &b, "inner": &inner}))
	assert.Equal(t, []string{"a 7 <7>", "b <7>", "<7>"}, []string{a, b, inner})
	assert.Error(t, printed.Texts(files, "setup/*", 7, nil))
	assert.Error(t, printed.Texts(files, "setup/*.cfg", 7, map[string]*string{"c.cfg": &a}))
}

func TestOneTemplateBecomesAText(t *testing.T) {
	text, err := printed.Text("{{.}}!", 7)
	require.NoError(t, err)
	assert.Equal(t, "7!", text)
	_, err = printed.Text("{{", nil)
	assert.Error(t, err)
	_, err = printed.Text("{{.None}}", 7)
	assert.Error(t, err)
}

func TestPartsAreNumberedAndSayWhereTheyBelong(t *testing.T) {
	var b strings.Builder
	n, err := printed.Write(&b, "# head\n", printed.Part{Where: "here", Text: "one\n"}, printed.Part{Where: "there", Text: "two\n"})
	require.NoError(t, err)
	assert.Equal(t, "# head\n\n# ===== part 1: here =====\none\n\n# ===== part 2: there =====\ntwo\n", b.String())
	assert.EqualValues(t, b.Len(), n)
}
