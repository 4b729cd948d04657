package replay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"offpath/detect/sitemap"
)

// SitemapFormat is how a map is written to a path, by its extension; nil where
// that says no format.
func SitemapFormat(path string) func(*sitemap.Map) ([]byte, error) {
	switch filepath.Ext(path) {
	case ".yaml", ".yml":
		return (*sitemap.Map).YAML
	case ".json":
		return (*sitemap.Map).JSON
	}
	return nil
}

// seen is the output of --sitemap. Its file is made at the start, so that one
// that cannot be written is known before the work.
type seen struct {
	*sitemap.Map
	file *os.File // nil where none is wanted
}

func newSitemap(path string) (*seen, error) {
	if path == "" {
		return &seen{}, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create the site map: %w", err)
	}
	return &seen{sitemap.New(0), file}, nil
}

func (s *seen) write() error {
	if s.file == nil {
		return nil
	}
	text, err := SitemapFormat(s.file.Name())(s.Map)
	if err == nil {
		_, err = s.file.Write(text)
	}
	if err = errors.Join(err, s.file.Close()); err != nil {
		return fmt.Errorf("write the site map: %w", err)
	}
	return nil
}
