"""
What each reason is called in English. `reasons.py` says how one is made.

Every sentence says what to do next. Those of OF_A_KEY stand on the row of a validated key, where the other would not be
true.
"""

from __future__ import annotations

from typing import Final

SENTENCES: Final[dict[str, str]] = {
    # Whatever the provider -------------------------------------------------------------------------------------
    "invalid": (
        "{provider} does not accept this key. Check that it was pasted whole, or make a new one at {key_page} and "
        "replace it here."
    ),
    "account_closed": (
        "{provider} has disabled the account or organization behind this key. Ask {provider} why, or replace the key "
        "by one of another account."
    ),
    "limited": ("{provider} knows this key, but refused it this request. Look at the key's permissions at {key_page}."),
    "no_credit": (
        "The {provider} account behind this key has no credit left or has reached its spending limit. Top it up or "
        "raise the limit there, then validate the key again."
    ),
    "too_dear": (
        "What is left of the credit at {provider} does not cover this request. Top it up there, or choose a cheaper "
        "model for the action."
    ),
    "rate_limited": (
        "{provider} limits how much this key may do at a time, and that is used up. Wait a minute, then try again."
    ),
    "quota_used_up": (
        "{provider} limits what this key may do in a day or a month, and that is used up for this model. {until} Until "
        "then choose another model for the action, or raise the limit there."
    ),
    "renewed.days": "It says to come back in about {number} days.",
    "renewed.day": "It says to come back in about 1 day.",
    "renewed.hours": "It says to come back in about {number} hours.",
    "renewed.hour": "It says to come back in about 1 hour.",
    "renewed.minutes": "It says to come back in about {number} minutes.",
    "renewed.minute": "It says to come back in about 1 minute.",
    "renewed.soon": "It says to come back in about a minute.",
    "renewed.usually": "It is renewed within a day or month.",
    "renewed.by_budget": "Its budget there is renewed as whoever set it decided.",
    "renewed.utc": "It is renewed at 00:00 UTC.",
    "renewed.pacific": "It is renewed at midnight Pacific time, which is 07:00 or 08:00 UTC.",
    "overloaded": ("{provider} is overloaded or has a fault, which says nothing about the key. Try again in a while."),
    "model_not_found": "{provider} does not offer this model to this key. Choose another model for the action.",
    "bad_request": ("{provider} could not work with this request. Another model may; choose one for the action."),
    "too_long": (
        "The text is longer than this model can take. Shorten the profile or the briefing, or choose a model with a "
        "larger context."
    ),
    "too_long_for_key": (
        "The text has more tokens than {provider} lets this key use within a minute, so waiting does not help. Shorten "
        "the profile or the briefing, choose another model, or raise the key's limits there."
    ),
    "content_refused": (
        "{provider} refused the text because of its content rules. Look at the text, or choose another model for the "
        "action."
    ),
    "unknown_error": (
        "{provider} refused the call for a reason we do not know. Try again; if it stays so, tell whoever runs this "
        "installation."
    ),
    "no_model_list": "{provider} gives no list of models where it is asked for it. Type the id of a model.",
    "empty_model_list": "{provider}'s list of models is empty. Type the id of a model that it has.",
    "empty": (
        "{provider} answered without an answer in it. Try again in a while, or choose another model for the action."
    ),
    "unexpected": (
        "{provider} answered in a form we do not know. Try again; if it stays so, tell whoever runs this installation."
    ),
    "in_front": "{provider} could not be reached: something in front of it answered. Try again in a while.",
    # OpenAI ----------------------------------------------------------------------------------------------------
    "lacks_permission": (
        "{provider} accepts this key, but it lacks a permission. Allow it “Models” and “Model capabilities” at "
        "{key_page}, or make a key with all permissions."
    ),
    "address_not_allowed": (
        "{provider} accepts this key only from certain IP addresses. Add this server's address in the project's "
        "settings there, then validate the key again."
    ),
    "no_member": (
        "The owner of this key is no member of an {provider} organization any more. Have them invited again, or make a "
        "key in your own organization."
    ),
    "country": (
        "{provider} does not serve the country this server stands in, whatever the key. Use OpenRouter or another "
        "provider."
    ),
    "project_archived": (
        "The {provider} project of this key was archived. Make a key in another project at {key_page} and replace it "
        "here."
    ),
    # Anthropic -------------------------------------------------------------------------------------------------
    "anthropic.own_limit": (
        "The spending limit that you set yourself in the Anthropic console is reached. Raise it there, or wait until "
        "next month (UTC)."
    ),
    "anthropic.monthly_limit": (
        "The monthly spending limit of this Anthropic account is reached. Raise it in the Anthropic console, or wait "
        "until the 1st of next month, 00:00 UTC."
    ),
    "anthropic.limited": (
        "Anthropic accepts this key, but it may not do this. Look at the key's workspace and permissions at {key_page}."
    ),
    # Google ----------------------------------------------------------------------------------------------------
    "google.limited": (
        "Google accepts this key, but refused it this request. Look at the key's restrictions at {key_page}."
    ),
    "google.kind": (
        "Google does not accept an auth key of this kind for this project. Make a new key for the Gemini API at "
        "{key_page} and replace it here."
    ),
    "google.leaked": (
        "Google has blocked this key because it was reported as leaked. Make a new one at {key_page} and replace it "
        "here."
    ),
    "google.no_tier": (
        "This model is not in the tier of this Google account. Choose another model for the action, or set up billing "
        "at Google."
    ),
    "google.websites": (
        "Google knows this key, but it is restricted to certain websites, which no server is. Lift that at "
        "https://console.cloud.google.com/apis/credentials, then validate it again."
    ),
    "google.addresses": (
        "Google knows this key, but accepts it only from certain IP addresses. Add this server's address at "
        "https://console.cloud.google.com/apis/credentials, then validate it again."
    ),
    "google.android": (
        "Google knows this key, but it is restricted to Android apps. Lift that at "
        "https://console.cloud.google.com/apis/credentials, then validate it again."
    ),
    "google.ios": (
        "Google knows this key, but it is restricted to iOS apps. Lift that at "
        "https://console.cloud.google.com/apis/credentials, then validate it again."
    ),
    "google.api_not_allowed": (
        "Google knows this key, but it is not allowed the Gemini API. Add the Generative Language API to its "
        "restrictions at https://console.cloud.google.com/apis/credentials, then validate it again."
    ),
    "google.api_off": (
        "Google knows this key, but the Gemini API is switched off in its project. Enable the Generative Language API "
        "at https://console.cloud.google.com/apis/library, then validate the key again."
    ),
    "google.billing_off": (
        "Google knows this key, but billing is switched off in its project. Switch it on at "
        "https://console.cloud.google.com/billing, then validate the key again."
    ),
    "google.suspended": (
        "Google knows this key, but its project or account is suspended. Look at https://console.cloud.google.com, or "
        "replace the key by one of another project."
    ),
    "google.country": (
        "Google knows this key, but does not serve it from the country or network this server stands in. Use "
        "OpenRouter or another provider."
    ),
    # Mistral ---------------------------------------------------------------------------------------------------
    "mistral.invalid": (
        "Mistral does not accept this key: it was mistyped or revoked, or its plan's budget is used up, which Mistral "
        "answers alike. Look at {key_page}, then replace the key or validate it again."
    ),
    # OpenRouter ------------------------------------------------------------------------------------------------
    "openrouter.management": (
        "This is an OpenRouter management key, which cannot call models. Make an ordinary key at {key_page} and "
        "replace it here."
    ),
    "openrouter.own_limit": (
        "OpenRouter accepts this key, but the key's own spending limit is used up. Raise it at {key_page}, then "
        "validate the key again."
    ),
    "openrouter.limit_set": (
        "The spending limit that was set for this OpenRouter key is used up. Raise it at {key_page}, or wait until it "
        "is renewed, then validate the key again."
    ),
    "openrouter.none_could": (
        "None of the providers behind OpenRouter could answer for this model. Try again in a while, or choose another "
        "model for the action."
    ),
    "openrouter.reserved": (
        "Calls that are still running have reserved the rest of this OpenRouter key's budget. Wait until they have "
        "ended, then try again."
    ),
    "openrouter.privacy": (
        "The privacy settings of this OpenRouter account leave no provider for this model. Change them at "
        "https://openrouter.ai/settings/privacy, or choose another model for the action."
    ),
    "openrouter.preferences": (
        "The provider settings of this OpenRouter account leave no provider for this model. Change them at "
        "https://openrouter.ai/settings/preferences, or choose another model for the action."
    ),
    "openrouter.upstream": (
        "The provider behind OpenRouter did not accept OpenRouter's own access to this model, or the key you deposited "
        "there. Look at https://openrouter.ai/settings/integrations, or choose another model for the action."
    ),
    # Servers that an organization names ------------------------------------------------------------------------
    "server.invalid": (
        "The server does not accept this key, or expects one. Ask who runs it for a key, and replace it here."
    ),
    "server.account_closed": (
        "The server has disabled the account or organization behind this key. Ask who runs it why, or replace the key."
    ),
    "server.limited": ("The server knows this key, but refused it this request. Ask who runs it what the key may do."),
    "server.no_credit": (
        "The account behind this key has no credit or budget left at this server. Top it up or raise the limit there, "
        "then validate the key again."
    ),
    "server.wrong_base_url": (
        "A server answers there, but not as an OpenAI-compatible one at this base URL. Most base URLs end in /v1; "
        "check it, and replace the key to correct it."
    ),
    "server.no_model_list": (
        "The server gives no list of models at this base URL; most end in /v1. If this one is right, type the id of a "
        "model."
    ),
    "server.wrong_base_url.anthropic": (
        "A server answers there, but not as an Anthropic-compatible one at this base URL. It is the one that "
        "Anthropic's own clients are given, without /v1 at its end; check it, and replace the key to correct it."
    ),
    "server.wrong_base_url.gemini": (
        "A server answers there, but not as a Gemini-compatible one at this base URL. It is the one that Google's own "
        "clients are given, without /v1beta at its end; check it, and replace the key to correct it."
    ),
    "server.lists_no_models": (
        "The server gives no list of models at this base URL. If this one is right, type the id of a model."
    ),
    "server.upstream": (
        "The server's own access to the provider behind this model was refused; your key is not at fault. Tell who "
        "runs the server, or choose another model for the action."
    ),
    "ollama.cloud": (
        "This model runs in Ollama's cloud, which refuses it to this server. Have somebody sign in there or look at "
        "its plan, or choose another model for the action."
    ),
    "ollama.guarded": (
        "This server asks for a key, which Ollama has none of: something guards it. Connect it on the card of "
        "OpenAI-compatible servers, with /v1 at the end of its base URL."
    ),
    "ollama.model_not_found": (
        "This Ollama server does not have the model. Have it pulled there, or choose another model for the action."
    ),
    "ollama.wrong_base_url": (
        "A server answers there, but it is no Ollama server. Its base URL has no path: https://ollama.example.com."
    ),
    "ollama.no_model_list": (
        "A server answers there, but it is no Ollama server with a list of models. Its base URL has no path: "
        "https://ollama.example.com. If this one is right, type the name of a model."
    ),
    "ollama.no_model": (
        "This Ollama server has no model yet. Have one pulled there and validate again, or type its name."
    ),
    # On the way there ------------------------------------------------------------------------------------------
    "no_connection": ("{host} could not be reached. Check this server's internet connection and try again in a while."),
    "no_connection.proxy": (
        "{host} could not be reached. This installation's calls leave through a proxy. Try again in a while; if it "
        "stays so, tell whoever runs it."
    ),
    "no_connection.custom": (
        "{host} could not be reached. Check the base URL and that the server runs. One in a private network has to be "
        "allowed by whoever runs this installation."
    ),
    "no_answer": "{host} did not answer within {seconds} seconds. Try again in a while.",
    "could_not_be_made": (
        "The call to {host} could not be made. Try again; if it stays so, tell whoever runs this installation."
    ),
    "too_large": "{host} sent an answer of more than {bytes} bytes. Choose another model for the action.",
    "odd_status": "{host} answered with the status {status}, which is none of an answer. Try again in a while.",
    "compressed": "{host} sent a compressed answer, which was not asked for. Try again in a while.",
    "odd_characters": "The key holds characters that no key has and that cannot be sent. Paste it again.",
    "longer_than_any": "The text is longer than any model takes. Shorten the profile or the briefing.",
    "interrupted": ("The call was interrupted here. Try again; if it stays so, tell whoever runs this installation."),
    "never_left": "The call was given up before it left. Try again.",
    "interrupted.test": "The test call was interrupted.",
    # What we say of a key --------------------------------------------------------------------------------------
    "unreadable": "The stored key cannot be opened any more. Paste it again.",
    "disabled": "It was switched off here; enable it to use it.",
    "closed.replaced": "The key was replaced.",
    "closed.disabled": "The key was disabled.",
    "base_url.missing": "Enter the base URL of the server.",
    "base_url.too_long": "A base URL has at most {most} characters.",
    "base_url.credentials": "Leave user name and password out of the base URL; a key has a field of its own.",
    "base_url.query": "Leave out what begins with “?” or “#”: the base URL ends with its path.",
    "base_url.no_url": "This is no base URL. It looks like https://llm.example.com/v1.",
    "base_url.port": "A port is a number from 1 to 65535.",
    "base_url.no_https": (
        "The base URL has to begin with https://. Without it only servers in a private network can be used, which "
        "whoever runs this installation has to allow first."
    ),
    "base_url.other_port": "Only port {ports} can be used here.",
    "base_url.private": (
        "This address is not on the internet. A server in a private network has to be allowed by whoever runs this "
        "installation first."
    ),
    "base_url.proxy": (
        "This installation reaches the internet through a proxy, which is for the built-in providers only. Whoever "
        "runs it can allow servers in its own network."
    ),
    "base_url.name": "The server's name in this base URL is not valid. Copy the URL again.",
    "base_url.address": "Write an IP address as four numbers from 0 to 255.",
    "not_checked": "The server is reachable. It answers without a key too, so the key was not checked.",
    "cannot_be_checked": "Saved, cannot be checked without a model. {because}",
    "proven_by_call": "{provider} gives no list of models. A test call to “{model}” was answered.",
    "not_proven": "A test call to “{model}” did not prove the key. {because}",
    "only_a_call_proves": (
        "{provider} answers, but it lists models to keys without credit too: only an answered test call would prove "
        "this one, and no listed model can be asked. Type the id of one that is not free."
    ),
}

OF_A_KEY: Final[dict[str, str]] = {
    "limited": (
        "{provider} knows this key, but did not allow it what it was validated with. Look at the key's permissions at "
        "{key_page}."
    ),
    "too_dear": (
        "What is left of the credit at {provider} did not cover a test call. Top it up there, then validate the key "
        "again."
    ),
    "quota_used_up": (
        "{provider} limits what this key may do in a day or a month, and that is used up. {until} Validate the key "
        "again then, or raise the limit there."
    ),
    "model_not_found": (
        "{provider} does not offer this key the model it was to be proven with. Type the id of another one."
    ),
    "bad_request": (
        "{provider} could not work with what the key was validated with, which says nothing about the key. Try again; "
        "if it stays so, tell whoever runs this installation."
    ),
    "too_long": (
        "{provider} could not prove the key: it could not take a test call. Type the id of another model and try again."
    ),
    "too_long_for_key": (
        "{provider} could not prove the key: a test call had more tokens than the key may use within a minute. Type "
        "the id of another model and try again."
    ),
    "content_refused": (
        "{provider} could not prove the key: it refused a test call because of its content rules. Type the id of "
        "another model and try again."
    ),
    "google.limited": (
        "Google accepts this key, but did not allow it what it was validated with. Look at its restrictions at "
        "{key_page}."
    ),
    "google.no_tier": (
        "The model that the key was validated with is not in the tier of this Google account. Type the id of another "
        "one, or set up billing at Google."
    ),
    "openrouter.none_could": (
        "None of the providers behind OpenRouter could answer, which says nothing about the key. Try again in a while."
    ),
    "openrouter.privacy": (
        "The privacy settings of this OpenRouter account leave no provider for what was tried. Change them at "
        "https://openrouter.ai/settings/privacy."
    ),
    "openrouter.preferences": (
        "The provider settings of this OpenRouter account leave no provider for what was tried. Change them at "
        "https://openrouter.ai/settings/preferences."
    ),
    "openrouter.upstream": (
        "The provider behind OpenRouter did not accept OpenRouter's own access, or the key you deposited there. Look "
        "at https://openrouter.ai/settings/integrations."
    ),
    "server.limited": (
        "The server knows this key, but did not allow it what it was validated with. Ask who runs it what the key may "
        "do."
    ),
    "server.upstream": (
        "The server's own access to the provider behind it was refused; this key is not at fault. Tell who runs the "
        "server."
    ),
    "ollama.cloud": (
        "The model runs in Ollama's cloud, which refuses it to this server. Have somebody sign in there or look at its "
        "plan, or type the name of another one."
    ),
    "ollama.model_not_found": (
        "This Ollama server does not have the model it was to be tried with. Have it pulled there, or type the name of "
        "another one."
    ),
    "too_large": "{host} sent an answer of more than {bytes} bytes. Try again in a while.",
}
