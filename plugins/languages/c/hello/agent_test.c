/* The unit tests of my-agent. */
#include "postern_test.h"

#include <string.h>

static void every_recipient_is_greeted(void) {
  test_host("{\"greeting\": \"moin\"}");
  CHECK(test_open());
  CHECK(!strcmp(test_logged(), "moin, box.example"));
  const char *const recipients[] = {"ann@box.example", "bob@box.example", NULL};
  postern_report report = test_deliver(test_item("x", recipients));
  CHECK(report.outcomes.len == 2);
  CHECK(test_outcome(&report, 1, POSTERN_DELIVERY_AGENT_TYPES_OUTCOME_DELIVERED, "greeted bob@box.example"));
  exports_postern_delivery_agent_agent_report_free(&report);
}

int main(void) {
  every_recipient_is_greeted();
  return 0;
}
