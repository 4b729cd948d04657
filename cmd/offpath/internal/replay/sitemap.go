package replay

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"offpath/detect/sitemap"
	"offpath/detect/sitemap/specification"
)

// SitemapFormat is how a map is written to a path, by its extension; nil where
// that says no format.
func SitemapFormat(path string) func(*sitemap.Map, *sitemap.Comparison) ([]byte, error) {
	switch filepath.Ext(path) {
	case ".yaml", ".yml":
		return (*sitemap.Map).YAML
	case ".json":
		return (*sitemap.Map).JSON
	}
	return nil
}

// seen is the output of --sitemap, and what --spec compares. Its file is made at
// the start, so that one that cannot be written is known before the work.
type seen struct {
	*sitemap.Map
	file *os.File            // nil where none is wanted
	spec *specification.Spec // nil likewise
}

func newSitemap(o *Options) (*seen, error) {
	s := &seen{}
	var err error
	if o.Spec != "" {
		if s.spec, err = specification.Open(o.Spec); err != nil {
			return nil, &InputError{err}
		}
		s.Map = sitemap.New(max(sitemap.DefaultEndpoints, 2*len(s.spec.Operations)))
	}
	if o.Sitemap == "" {
		return s, nil
	}
	if s.file, err = os.Create(o.Sitemap); err != nil {
		return nil, fmt.Errorf("create the site map: %w", err)
	}
	if s.Map == nil {
		s.Map = sitemap.New(0)
	}
	return s, nil
}

// comparison is what differs from the specification; nil without one.
func (s *seen) comparison() *sitemap.Comparison {
	if s.spec == nil {
		return nil
	}
	return s.Compare(s.spec)
}

func (s *seen) write() error {
	if s.file == nil {
		return nil
	}
	text, err := SitemapFormat(s.file.Name())(s.Map, s.comparison())
	if err == nil {
		_, err = s.file.Write(text)
	}
	if err = errors.Join(err, s.file.Close()); err != nil {
		return fmt.Errorf("write the site map: %w", err)
	}
	return nil
}

// writeComparison lists what differs from the specification.
func writeComparison(b *strings.Builder, c *sitemap.Comparison) {
	fmt.Fprintf(b, "\nEndpoints  %s compared with %s operations specified, %s match\n", number(c.Seen), number(c.Specified), number(c.Matching))
	for _, note := range []struct {
		n    int
		text string
	}{
		{c.Elsewhere, "at hosts that the specification does not name"},
		{c.Refused, "not specified, and answered with errors alone"},
	} {
		if note.n > 0 {
			fmt.Fprintf(b, "  %s more %s\n", number(note.n), note.text)
		}
	}
	if c.AnyHost {
		b.WriteString("  none is at a host that the specification names: hosts are left out of account\n")
	}
	for _, kind := range []struct{ name, text string }{
		{sitemap.Shadow, "seen, not specified"}, {sitemap.Zombie, "should be gone, still used"},
		{sitemap.Drifted, "used as not specified"}, {sitemap.Orphaned, "specified, not seen"},
	} {
		fmt.Fprintf(b, "  %-10s %s (%s)\n", kind.name, number(c.Of(kind.name)), kind.text)
		shown := 0
		for i := range c.Differences {
			d := &c.Differences[i]
			if d.Kind != kind.name {
				continue
			}
			if shown++; shown > shownLines {
				fmt.Fprintf(b, "    … and %s more\n", number(c.Of(kind.name)-shownLines))
				break
			}
			fmt.Fprintf(b, "    %s: %s", line(cmp.Or(d.Endpoint, d.Operation)), line(strings.Join(d.Why, "; ")))
			if d.Requests > 0 {
				fmt.Fprintf(b, " (%s requests, last %s)", number(d.Requests), clock(d.Last))
			}
			b.WriteString("\n")
		}
	}
}
