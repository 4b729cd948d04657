package awswaf

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"strings"

	"offpath/detect"
	"offpath/mitigate/internal/printed"
)

//go:embed setup/setup.txt
var setupText string

// Setup is what an operator has to do at AWS.
type Setup struct {
	Name       string // of the target; default aws
	Region     string // default eu-central-1, with CloudFront us-east-1
	CloudFront bool
	Group      string // default [DefaultGroup]
	Rates      []detect.Rate
}

// Render checks the setup and makes the text.
func (s Setup) Render() (io.WriterTo, error) {
	view := struct {
		Name, Region, Scope, AWSScope, ARNScope, Group string
		Sets                                           int
		Capacity                                       int64
		Rates                                          []string
	}{Name: cmp.Or(s.Name, "aws"), Region: cmp.Or(s.Region, "eu-central-1"), Scope: "regional", AWSScope: "REGIONAL", ARNScope: "regional"}
	if s.CloudFront {
		view.Region = cmp.Or(s.Region, "us-east-1")
		view.Scope, view.AWSScope, view.ARNScope = "cloudfront", "CLOUDFRONT", "global"
	}
	nobodys := func() ([]byte, error) { return nil, nil }
	t, err := New(Options{Name: view.Name, Region: view.Region, CloudFront: s.CloudFront, Group: s.Group, Rates: s.Rates, AccessKey: "none", Secret: nobodys})
	if err != nil {
		return nil, err
	}
	view.Group, view.Sets, view.Capacity = t.options.Group, len(t.setNames()), t.capacity()
	for _, tier := range t.tiers {
		view.Rates = append(view.Rates, fmt.Sprintf("%d per %d s", tier.requests, tier.seconds))
	}
	text, err := printed.Text(setupText, view)
	if err != nil {
		return nil, fmt.Errorf("aws waf setup: %w", err)
	}
	return strings.NewReader(text), nil
}
