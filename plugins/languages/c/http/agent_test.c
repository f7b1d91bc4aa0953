/* The unit tests of my-agent. */
#include "postern_test.h"

#include <string.h>

static const char *const both[] = {"+4930123", "+4930124", NULL};

static void each_recipient_gets_a_post_of_its_own(void) {
  test_host("{\"url\": \"https://sms.example/send\", \"other\": [1, {\"url\": \"no\"}]}");
  test_answer(200, "");
  test_answer(422, "");
  CHECK(test_open());
  postern_report report = test_deliver(test_item("the text", both));
  CHECK(test_outcome(&report, 0, POSTERN_DELIVERY_AGENT_TYPES_OUTCOME_DELIVERED, "HTTP status 200"));
  CHECK(test_outcome(&report, 1, POSTERN_DELIVERY_AGENT_TYPES_OUTCOME_FAILED, "HTTP status 422"));
  CHECK(test_requests() == 2);
  CHECK(strstr(test_sent(), "POST https://sms.example/send\n"));
  CHECK(strstr(test_sent(), "X-Recipient: +4930124\n\nthe text"));
  exports_postern_delivery_agent_agent_report_free(&report);
}

static void what_may_work_later_is_deferred(void) {
  test_host("{\"url\": \"https://sms.example/send\"}");
  test_answer(503, "");
  CHECK(test_open());
  postern_report report = test_deliver(test_item("the text", both));
  CHECK(test_outcome(&report, 0, POSTERN_DELIVERY_AGENT_TYPES_OUTCOME_DEFERRED, "HTTP status 503"));
  CHECK(test_outcome(&report, 1, POSTERN_DELIVERY_AGENT_TYPES_OUTCOME_DEFERRED, "no connection"));
  exports_postern_delivery_agent_agent_report_free(&report);
}

static void without_a_url_nothing_is_opened(void) {
  test_host("{\"url\": 7}");
  CHECK(!test_open());
}

int main(void) {
  each_recipient_gets_a_post_of_its_own();
  what_may_work_later_is_deferred();
  without_a_url_nothing_is_opened();
  return 0;
}
