package sitemap

import (
	"net/url"
	"strings"

	"offpath/detect/sitemap/specification"
)

// routes are the paths of a specification, segment by segment. A path leads to
// each node in one way, so that finding looks at each once at most.
type routes struct {
	literals   map[string]*routes
	patterns   []pattern
	operations []int // of the specification
}

// pattern is a segment with parameters in it, as what stands around them.
type pattern struct {
	parts []string
	next  *routes
}

// parameter stands for one in a segment of a learned template.
const parameter = "\x00"

// segments are those of a path: parameters without their names, octets as they
// are meant, no empty ones, so that a slash at the end does not matter.
func segments(path string) []string {
	var list []string
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" {
			continue
		}
		var b strings.Builder
		for segment != "" {
			open := strings.IndexByte(segment, '{')
			end := strings.IndexByte(segment, '}')
			if open < 0 || end < open {
				break
			}
			b.WriteString(unescaped(segment[:open]))
			b.WriteString(parameter)
			segment = segment[end+1:]
		}
		b.WriteString(unescaped(segment))
		list = append(list, b.String())
	}
	return list
}

func unescaped(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

func (r *routes) add(path []string, operation int) {
	for _, segment := range path {
		r = r.child(segment)
	}
	r.operations = append(r.operations, operation)
}

func (r *routes) child(segment string) *routes {
	if !strings.Contains(segment, parameter) {
		next := r.literals[segment]
		if next == nil {
			if r.literals == nil {
				r.literals = map[string]*routes{}
			}
			next = &routes{}
			r.literals[segment] = next
		}
		return next
	}
	for _, p := range r.patterns {
		if strings.Join(p.parts, parameter) == segment {
			return p.next
		}
	}
	next := &routes{}
	r.patterns = append(r.patterns, pattern{strings.Split(segment, parameter), next})
	return next
}

// matches reports whether a segment is of a pattern: one that is seen, which
// may be learned to be a parameter as well.
func (p *pattern) matches(segment string) bool {
	last := len(p.parts) - 1
	rest, ok := strings.CutPrefix(segment, p.parts[0])
	if !ok {
		return false
	}
	for _, part := range p.parts[1:last] {
		if rest == "" {
			return false
		}
		at := strings.Index(rest[1:], part) // a parameter is one octet at least
		if at < 0 {
			return false
		}
		rest = rest[1+at+len(part):]
	}
	return len(rest) > len(p.parts[last]) && strings.HasSuffix(rest, p.parts[last])
}

// find calls found with the operations of each route that a path takes, those
// with literal segments first, until it returns false.
func (r *routes) find(path []string, found func(operations []int) bool) bool {
	if len(path) == 0 {
		return len(r.operations) == 0 || found(r.operations)
	}
	if next := r.literals[path[0]]; next != nil && !next.find(path[1:], found) {
		return false
	}
	for i := range r.patterns {
		if p := &r.patterns[i]; p.matches(path[0]) && !p.next.find(path[1:], found) {
			return false
		}
	}
	return true
}

func routesOf(s *specification.Spec) *routes {
	r := &routes{}
	for i := range s.Operations {
		r.add(segments(s.Operations[i].Path), i)
	}
	return r
}
