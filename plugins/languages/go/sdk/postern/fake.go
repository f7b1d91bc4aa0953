package postern

import "errors"

// FakeHost is a host for unit tests. Without answers there is no connection.
type FakeHost struct {
	JSON     string
	Answers  []Answer
	Requests []Request
	Logged   []string
}

func (f *FakeHost) Log(_ Level, text string)      { f.Logged = append(f.Logged, text) }
func (f *FakeHost) Settings() string              { return f.JSON }
func (f *FakeHost) Secret(string) (string, bool) { return "", false }

func (f *FakeHost) Send(request Request) (Answer, error) {
	f.Requests = append(f.Requests, request)
	if len(f.Answers) == 0 {
		return Answer{}, errors.New("the network is down")
	}
	answer := f.Answers[0]
	f.Answers = f.Answers[1:]
	return answer, nil
}

// FakeItem is an item with a text, for recipients that are numbered from 0.
type FakeItem struct {
	Words string
	To    []string
}

func (f FakeItem) Envelope() Envelope {
	return Envelope{ItemID: "item-1", Attempt: 1, ReversePath: "jo@home.example", Size: uint32(len(f.Words))}
}

func (f FakeItem) Recipients() []Recipient {
	var all []Recipient
	for i, address := range f.To {
		all = append(all, Recipient{Index: uint32(i), AddressType: "SMTP", Address: address, IdempotencyKey: "key-" + address})
	}
	return all
}

func (f FakeItem) Read(offset, length uint32) ([]byte, error) {
	rest := f.Words[min(int(offset), len(f.Words)):]
	return []byte(rest[:min(int(length), len(rest))]), nil
}

func (f FakeItem) Headers() ([][2]string, error) { return nil, nil }

func (f FakeItem) Text(max uint32) (string, error) { return f.Words[:min(int(max), len(f.Words))], nil }
