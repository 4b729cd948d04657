package engine

import "offpath/detect/endpoint"

// Stats are the engine's books. All are counts since its start, but for the
// gauges, which say what is held now.
type Stats struct {
	Transactions uint64 // observed
	Late         uint64 // of them: ended more than a minute before others had, and were taken for as late as these
	SecondLegs   uint64 // of them: the second sight of a request, not counted again
	Refused      uint64 // of them: carried a refusal's marker
	RefusedStale uint64 // of them: marker of no active verdict against their client
	NoClient     uint64 // of them: logins whose effective client is unknown or a trusted proxy

	Logins   map[string]uint64 // login attempts by outcome; "unknown" where it could not be told
	Repeated uint64            // attempts that had been counted before: same client, account and password

	Findings   uint64 // new findings about clients
	Campaigns  uint64 // campaigns that were opened
	Outages    uint64 // findings that a login endpoint is out of order
	Holds      uint64 // new verdicts about accounts
	Verdicts   uint64 // new verdicts about requests
	Restored   uint64 // verdicts of an earlier run that were carried on
	Renewals   uint64 // renewal lines
	Expired    uint64 // verdicts that ran to their end
	RolledBack uint64 // verdicts that hit customers, and were taken back (an operator's: found to)
	Lifted     uint64 // verdicts that an operator, or a change of the allow-list, ended

	// Failures that would have convicted but did not, by reason; of allow-list,
	// policy, price and capacity the new convictions.
	VetoKnownGood  uint64 // the client's logins mostly succeed
	VetoOutage     uint64 // the application fails for everybody
	VetoUnanchored uint64 // no login has ever succeeded there, for several clients
	VetoAllowed    uint64 // on the allow-list: finding only
	VetoPolicy     uint64 // its policy asks for nothing more: finding only
	VetoPrice      uint64 // an operator's own policy would hit too many customers, or none can carry it: finding only
	VetoCapacity   uint64 // too many active verdicts: finding only
	VetoBudget     uint64 // the predicate would hit too many customers (counts attempts)
	VetoCampaigns  uint64 // too many campaigns, or predicates of one (counts attempts)

	EntityEvictions   uint64         // clients forgotten for want of room
	EndpointEvictions uint64         // endpoints forgotten for want of room
	Names             endpoint.Stats // of the learner of their names
	MapForgotten      uint64         // endpoints of the map that made room for others, since it is kept
	MapLost           uint64         // requests of endpoints that the map had no room for, since it is kept
	DossierEvictions  uint64         // evidence lists forgotten for want of room
	PolicyEvictions   uint64         // entities of policies forgotten for want of room
	CellEvictions     uint64         // combinations of values forgotten for want of room
	NetworkEvictions  uint64         // answers of the databases of networks forgotten for want of room
	NetworksDamaged   uint64         // records of these databases that could not be read

	OverridesTooDear uint64 // overrides that cost too much over a request and did not hold of it
	PolicyErrors     uint64 // evaluations of policies' conditions that failed: nobody was convicted

	PolicyEntities, Entities, Endpoints, Mapped, LoginEndpoints, ActiveVerdicts, Cells, OpenCampaigns int // gauges
}
