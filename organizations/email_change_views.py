"""The page behind the link of `organizations.email_changes`. Whoever has the link reads the mailbox it went to."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from organizations import clock, email_changes

SESSION_KEY = "email_change"
ANSWERED = "email_change_answered"  # what this browser was told, for its second click
PAGE = "organizations/email_change.html"


@require_safe
@never_cache
def follow_link(request: HttpRequest, token: str) -> HttpResponse:
    """Move the token from the address, where history and logs keep it, into the session. Changes nothing."""
    request.session[SESSION_KEY] = token
    request.session.pop(ANSWERED, None)
    return redirect("answer-email-change")


@require_http_methods(["GET", "POST"])
@never_cache
def answer(request: HttpRequest) -> HttpResponse:
    token = request.session.get(SESSION_KEY, "")
    try:
        link = email_changes.find_link(token=token, now=clock.now())
        if request.method == "GET":
            return render(request, PAGE, {"change": link.change})
        if request.POST.get("answer") == "agree":
            change = email_changes.confirm_email_change(token=token, now=clock.now())
            said = "The address was changed", f"{change.new_email} is the address of this account from now on."
        elif request.POST.get("answer") == "refuse":
            change = email_changes.refuse_email_change(token=token, now=clock.now())
            said = "Nothing was changed", f"{change.old_email} stays the address of this account."
        else:
            return render(request, PAGE, {"change": link.change}, status=422)
    except email_changes.EmailChangeOver as over:
        if before := request.session.get(ANSWERED):
            return render(request, PAGE, {"heading": before[0], "sentence": before[1]})
        return render(request, PAGE, {"heading": "Nothing left to answer", "sentence": str(over)}, status=410)
    except email_changes.EmailChangeRefused as refusal:
        context = {"heading": "Nothing was changed", "sentence": str(refusal)}
        return render(request, PAGE, context, status=410)
    del request.session[SESSION_KEY]
    request.session[ANSWERED] = said
    return render(request, PAGE, {"heading": said[0], "sentence": said[1]})
