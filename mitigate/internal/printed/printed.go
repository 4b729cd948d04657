// Package printed makes what `offpath target-config` prints for a target: texts from the
// target's templates, and for a person all of them as numbered parts.
package printed

import (
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/template"
)

// Text renders one template.
func Text(source string, view any) (string, error) {
	parsed, err := template.New("setup").Parse(source)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = parsed.Execute(&b, view)
	return b.String(), err
}

// Texts renders templates of the files that match a pattern, each into the text that stands
// beside its name: a file's base name, or a block's.
func Texts(files fs.FS, pattern string, view any, texts map[string]*string) error {
	parsed, err := template.ParseFS(files, pattern)
	if err != nil {
		return err
	}
	for name, text := range texts {
		var b strings.Builder
		if err := parsed.ExecuteTemplate(&b, name, view); err != nil {
			return err
		}
		*text = b.String()
	}
	return nil
}

// Part is a text and where it belongs.
type Part struct{ Where, Text string }

// Write writes a header, and behind it the parts, each below a comment that says where it
// belongs.
func Write(w io.Writer, header string, parts ...Part) (int64, error) {
	var b strings.Builder
	b.WriteString(header)
	for i, p := range parts {
		fmt.Fprintf(&b, "\n# ===== part %d: %s =====\n%s", i+1, p.Where, p.Text)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}
