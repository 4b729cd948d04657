package engine

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect/internal/snapshot"
	"offpath/detect/sitemap"
)

var update = flag.Bool("update", false, "write testdata/state.txt anew")

// settings are what an engine is given, and its books: nothing that it knows.
var settings = []string{".Config", ".Stats", "policy.Set", "policy.Policy", "policy.Condition", "policy.Facts", "network.", "filter."}

// shapeOf lists the fields of all that a type holds.
func shapeOf(t reflect.Type, seen map[reflect.Type]bool, lines *[]string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		shapeOf(t.Elem(), seen, lines)
	case reflect.Map:
		shapeOf(t.Key(), seen, lines)
		shapeOf(t.Elem(), seen, lines)
	case reflect.Struct:
		if seen[t] || !strings.HasPrefix(t.PkgPath(), "offpath/") && t.PkgPath() != "" ||
			slices.ContainsFunc(settings, func(s string) bool { return strings.Contains(t.String(), s) }) {
			return
		}
		seen[t] = true
		for i := range t.NumField() {
			f := t.Field(i)
			*lines = append(*lines, fmt.Sprintf("%s.%s %s", t, f.Name, f.Type))
			shapeOf(f.Type, seen, lines)
		}
	}
}

// Who adds a field to the state has a snapshot to think of: it is written by the
// snapshot.go of its package, or what stands in it follows from the rest.
func TestTheStateIsAsItsSnapshotKnowsIt(t *testing.T) {
	const golden = "testdata/state.txt"
	lines := []string{fmt.Sprint("version ", snapshot.Version)}
	seen := map[reflect.Type]bool{}
	shapeOf(reflect.TypeFor[Engine](), seen, &lines)
	shapeOf(reflect.TypeFor[sitemap.Map](), seen, &lines) // which Config holds
	slices.Sort(lines[1:])
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
		return
	}
	was, err := os.ReadFile(golden)
	require.NoError(t, err)
	known := strings.Split(strings.TrimSuffix(string(was), "\n"), "\n")
	if slices.Equal(known, lines) {
		return
	}
	is := func(list []string) func(string) bool {
		return func(line string) bool { return slices.Contains(list, line) }
	}
	assert.Fail(t, "the state has changed: describe it in the snapshot.go of its package, raise snapshot.Version if what is written has changed, and run this test with -update",
		"now there is %q, no longer %q", slices.DeleteFunc(slices.Clone(lines), is(known)), slices.DeleteFunc(slices.Clone(known), is(lines)))
}
