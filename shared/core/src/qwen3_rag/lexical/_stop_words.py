"""Words that are left out of queries, because they name no topic in any language.

English articles, pronouns, auxiliaries, conjunctions and simple prepositions, and the question
words of many languages. A word that can change what is asked for is not here ("not", "before",
"between"), nor is one that names something elsewhere: "or" (French gold), "by" (Danish town),
"most" (Polish bridge), "at" (Turkish horse), "had" (Czech snake), "wat" (Thai temple), "onde"
(French wave), "kde" (a desktop), "як" (Russian yak).
"""

from __future__ import annotations

__all__ = ["QUESTION_WORDS", "STOP_WORDS"]

_ENGLISH = """
a am an and any are aren't as be because been being but cannot couldn't did didn't do does
doesn't doing don't for from hadn't has hasn't have haven't having he her here hers herself him
himself how how's i i'm i've if in into is isn't it it's its itself let's me my myself of our
ours ourselves she should shouldn't so some than that that's the their theirs them themselves then
there there's these they they're this those to upon was wasn't we we're were weren't what what's
when when's where where's which while who who's whom whose why with within without won't would
wouldn't you you're your yours yourself
"""

# ruff: noqa: RUF001 -- words of other scripts and of Turkish
_QUESTIONS = """
was wer wem wessen wo wohin woher wann warum wieso weshalb wie welche welcher welches welchen
welchem wieviel wieviele
waar wanneer waarom welke welk hoeveel
que qui quoi quel quelle quels quelles quand pourquoi où combien lequel laquelle
qué quién quiénes cuál cuáles cuándo cuánto cuánta cuántos cuántas dónde cómo quien cual cuando
quem quanto quantos quantas porquê por
quale quali perché quando dov'è cos'è qual'è
neden niçin nasıl hangi kimin nerede nereye nereden kaç hangisi nedir kimdir
что кто где когда почему зачем как какой какая какое какие каком каких какую сколько чей откуда куда
що хто де коли чому який яка яке які скільки
kto gdzie kiedy dlaczego jaki jaka jakie który która które
kdo kdy proč jaký jaká jaké který která které
τι ποιος ποια ποιο ποιοι ποιες ποιον ποιαν ποιων πού πότε πώς γιατί πόσο πόσα πόσοι πόσες πόση
mikä mitä missä milloin miksi miten ketä kuinka mistä mihin millä minkä kenen montako paljonko
mikor miért hogyan melyik mennyi hány
vem varför vilken vilket vilka hvad hvem hvor hvornår hvorfor hvordan hvilken hvilket hvilke hva
siapa kapan mengapa bagaimana dimana berapa kenapa apakah
gì nào
ما ماذا من متى أين لماذا كيف كم هل أي
چه چرا چگونه کجا کی چند آیا
מה איפה מתי למה איך כמה האם
क्या कौन कब कहाँ क्यों कैसे कितना कितने कितनी किस किसने
কী কি কে কখন কোথায় কেন কীভাবে কিভাবে কত কোন কোনটি
"""

#: Question words of other languages than English, case-folded.
QUESTION_WORDS = frozenset(_QUESTIONS.casefold().split())

#: All words, case-folded.
STOP_WORDS = QUESTION_WORDS.union(_ENGLISH.casefold().split())
