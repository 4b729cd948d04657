package reassembly

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestClassesHaveTheirPlace(t *testing.T) {
	var s Sensitive
	assert.Empty(t, s.Names())
	s.Add(PlaceRequestHeader, 0)
	assert.Equal(t, SensitiveLooked, s, "looked, and found nothing")
	s.Add(PlaceResponseBody, ClassPhone.Of())
	s.Add(PlaceRequestHeader, ClassCard.Of()|ClassJWT.Of())
	assert.Equal(t, []string{"request.header.card", "request.header.jwt", "response.body.phone"}, s.Names())
	assert.Equal(t, s.Names(), slices.Collect(s.All()))
}

func TestNamesOfSensitiveDataAreReadBack(t *testing.T) {
	for p := range places {
		for c := range classes {
			var s Sensitive
			s.Add(p, c.Of())
			assert.True(t, s.Valid())
			got, ok := SensitiveFrom(s.Names())
			assert.True(t, ok)
			assert.Equal(t, s, got)
		}
	}
	got, ok := SensitiveFrom(nil)
	assert.True(t, ok)
	assert.Equal(t, SensitiveLooked, got)
	_, ok = SensitiveFrom([]string{"request.body.pin"})
	assert.False(t, ok)
	assert.False(t, Sensitive(2).Valid(), "found without a look")
	assert.False(t, (SensitiveLooked | 1<<36).Valid(), "a class that is none")
	assert.True(t, Sensitive(0).Valid())
}
