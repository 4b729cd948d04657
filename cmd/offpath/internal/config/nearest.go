package config

import "strings"

// nearest returns the candidate with the smallest edit distance to text, the
// first of equals.
func nearest(text string, candidates []string) string {
	best, least := "", -1
	for _, c := range candidates {
		if d := distance(text, c); least < 0 || d < least {
			best, least = c, d
		}
	}
	return best
}

// nearestKey returns the known key that was probably meant by an unknown one
// in a section ("" is the top): one with the same name in another section
// comes first, then the nearest in the same section.
func nearestKey(section, name string, paths []string) string {
	var siblings []string
	for _, path := range paths {
		at, key, ok := strings.Cut(path, ".")
		if ok && key == name {
			return path
		}
		if ok && at == section || !ok && section == "" {
			siblings = append(siblings, path)
		}
	}
	if section == "" {
		return nearest(name, siblings)
	}
	return nearest(section+"."+name, siblings)
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
